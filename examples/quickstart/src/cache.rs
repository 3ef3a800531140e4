//! The cache: answers `get` from memory if possible, and forwards every `add` to the database.

use crate::lines::{self, Request};
use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Serves the values of the database from memory. Exits if the database does not answer at the start.
pub(crate) fn serve(port: u16, database: String) -> io::Result<()> {
    lines::send_line(&database, "get visits")
        .map_err(|error| io::Error::other(format!("cannot reach the database at {database}: {error}")))?;
    let known = Mutex::new(HashMap::new());
    lines::serve(port, move |request| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, line) = match request {
            Request::Get(key) => match known.get(*key) {
                Some(number) => return Ok(*number),
                None => (*key, format!("get {key}")),
            },
            Request::Add(key) => (*key, format!("add {key}")),
        };
        let number = lines::send_line(&database, &line)?;
        known.insert(key.to_string(), number);
        Ok(number)
    })
}
