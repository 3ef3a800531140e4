//! `tcp://` and `unix://`: a connection that is accepted.

use std::path::Path;
use tokio::net::{TcpStream, UnixStream};

pub(super) async fn tcp(address: &str) -> Result<String, String> {
    match TcpStream::connect(address).await {
        Ok(_) => Ok(format!("{address} accepts connections")),
        Err(error) => Err(format!("cannot connect to {address}: {error}")),
    }
}

pub(super) async fn unix(path: &Path) -> Result<String, String> {
    match UnixStream::connect(path).await {
        Ok(_) => Ok(format!("{} accepts connections", path.display())),
        Err(error) => Err(format!("cannot connect to {}: {error}", path.display())),
    }
}
