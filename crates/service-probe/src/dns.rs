//! `dns://server:port/name`: the check passes if the answer has at least one address (RFC 1035, over UDP).

use super::error::{DnsError, ProbeError};
use super::names::Names;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use std::net::SocketAddr;
use tokio::net::UdpSocket;

/// The maximum size of an answer. Without EDNS, an answer over UDP is smaller.
const MAX_ANSWER_BYTES: usize = 4096;

/// Queries the addresses of the server one after the other. The kernel reports a closed port at once.
pub(super) async fn query_server(names: &Names, server: &str, name: &str) -> Result<String, ProbeError> {
    let query = query(name)?;
    let no_port = || DnsError::NoPort { server: server.to_owned() };
    let (host, port) = server.rsplit_once(':').ok_or_else(no_port)?;
    let port: u16 = port.parse().map_err(|_| no_port())?;
    let bytes = query.to_vec().map_err(|error| DnsError::Encode { name: name.to_owned(), error })?;
    let mut last = DnsError::NoServer { host: host.to_owned() };
    for address in names.addresses(host).await? {
        let server = SocketAddr::new(address, port);
        match exchange(server, &bytes, query.metadata.id).await {
            Ok(answer) => return Ok(read(&answer, server, name)?),
            Err(error) => last = DnsError::Exchange { server, name: name.to_owned(), error },
        }
    }
    Err(last.into())
}

fn read(answer: &Message, server: SocketAddr, name: &str) -> Result<String, DnsError> {
    match (answer.metadata.response_code, answer.answers.len()) {
        (ResponseCode::NoError, 0) => Err(DnsError::NoRecord { server, name: name.to_owned() }),
        (ResponseCode::NoError, _) => {
            let addresses: Vec<String> =
                answer.answers.iter().map(|record| record.data.to_string()).collect();
            Ok(format!("{name} is {}", addresses.join(", ")))
        }
        (code, _) => Err(DnsError::Code { server, name: name.to_owned(), code }),
    }
}

/// Describes a DNS answer.
pub fn describe_answer(answer: &[u8]) -> String {
    let server = SocketAddr::from(([127, 0, 0, 1], 53));
    match Message::from_vec(answer) {
        Ok(answer) => read(&answer, server, "a").unwrap_or_else(|error| error.to_string()),
        Err(error) => error.to_string(),
    }
}

fn query(name: &str) -> Result<Message, DnsError> {
    let mut fully_qualified =
        Name::from_ascii(name).map_err(|error| DnsError::Name { name: name.to_owned(), error })?;
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
