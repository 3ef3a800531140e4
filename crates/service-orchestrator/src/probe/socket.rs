//! `tcp://` and `unix://`: a connection that is accepted.

use std::net::SocketAddr;
use std::path::Path;
use tokio::net::{TcpStream, UnixStream};

/// Also says who was reached.
pub(super) async fn tcp(address: &str) -> Result<(String, Option<SocketAddr>), String> {
    match TcpStream::connect(address).await {
        Ok(stream) => Ok((format!("{address} accepts connections"), stream.peer_addr().ok())),
        Err(error) => Err(format!("cannot connect to {address}: {error}")),
    }
}

pub(super) async fn unix(path: &Path) -> Result<String, String> {
    match UnixStream::connect(path).await {
        Ok(_) => Ok(format!("{} accepts connections", path.display())),
        Err(error) => Err(format!("cannot connect to {}: {error}", path.display())),
    }
}
