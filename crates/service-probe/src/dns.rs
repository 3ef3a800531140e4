//! `dns://server:port/name`: the check passes if the answer has at least one address (RFC 1035, over UDP).

use super::names::Names;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use service_host::text::describe_io_error;
use std::net::SocketAddr;
use tokio::net::UdpSocket;

/// The maximum size of an answer. Without EDNS, an answer over UDP is smaller.
const MAX_ANSWER_BYTES: usize = 4096;

/// Queries the addresses of the server one after the other. The kernel reports a closed port at once.
pub(super) async fn query_server(names: &Names, server: &str, name: &str) -> Result<String, String> {
    let query = query(name)?;
    let (host, port) = server.rsplit_once(':').ok_or_else(|| format!("{server} has no port"))?;
    let port: u16 = port.parse().map_err(|_| format!("{server} has no port"))?;
    let bytes = query.to_vec().map_err(|error| format!("cannot build a query for {name}: {error}"))?;
    let mut last = format!("{host} has no address");
    for address in names.addresses(host).await? {
        let server = SocketAddr::new(address, port);
        match exchange(server, &bytes, query.metadata.id).await {
            Ok(answer) => return read(&answer, server, name),
            Err(error) => last = format!("cannot query {server} for {name}: {}", describe_io_error(&error)),
        }
    }
    Err(last)
}

fn read(answer: &Message, server: SocketAddr, name: &str) -> Result<String, String> {
    match (answer.metadata.response_code, answer.answers.len()) {
        (ResponseCode::NoError, 0) => Err(format!("{server} has no address for {name}")),
        (ResponseCode::NoError, _) => {
            let addresses: Vec<String> =
                answer.answers.iter().map(|record| record.data.to_string()).collect();
            Ok(format!("{name} is {}", addresses.join(", ")))
        }
        (code, _) => Err(format!("{server} answered for {name}: {code}")),
    }
}

/// Describes a DNS answer.
pub fn describe_answer(answer: &[u8]) -> String {
    let server = SocketAddr::from(([127, 0, 0, 1], 53));
    let answer = Message::from_vec(answer).map_err(|error| error.to_string());
    answer.and_then(|answer| read(&answer, server, "a")).unwrap_or_else(|why| why)
}

fn query(name: &str) -> Result<Message, String> {
    let mut fully_qualified =
        Name::from_ascii(name).map_err(|error| format!("`{name}` is not a DNS name: {error}"))?;
    fully_qualified.set_fqdn(true);
    let mut message = Message::new(id(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(fully_qualified, RecordType::A));
    Ok(message)
}

/// The id of a query, which distinguishes the awaited answer from a late one. Answers of other servers do not arrive,
/// because the socket is connected.
fn id() -> u16 {
    u16::try_from(service_host::clock::now().as_nanos() & 0xffff).unwrap_or_default()
}

async fn exchange(server: SocketAddr, query: &[u8], id: u16) -> std::io::Result<Message> {
    let local: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; MAX_ANSWER_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match Message::from_vec(&buffer[..length]) {
            Ok(answer) if answer.metadata.id == id => return Ok(answer),
            _ => {}
        }
    }
}
