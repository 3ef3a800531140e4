//! Queries the TCP listeners of this machine over `sock_diag(7)`. `/proc/net/tcp` has the same data, but takes
//! milliseconds because the kernel walks the table of all connections.

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use std::io;
use std::net::IpAddr;

/// The maximum size of a part of the kernel's reply, see `netlink(7)`.
const MAX_PART_BYTES: usize = 32 * 1024;

/// A socket that accepts connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListeningSocket {
    pub(super) address: IpAddr,
    pub(super) inode: u32,
}

/// A netlink socket for repeated queries.
#[derive(Debug)]
pub(super) struct Listeners {
    socket: Socket,
    /// A part of the kernel's reply.
    part: Vec<u8>,
}

impl Listeners {
    pub(super) fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, part: Vec::with_capacity(MAX_PART_BYTES) })
    }

    /// Calls `visit` with every listener and its port.
    pub(super) fn each(&mut self, mut visit: impl FnMut(u16, ListeningSocket)) -> io::Result<()> {
        [AddressFamily::Four, AddressFamily::Six]
            .into_iter()
            .try_for_each(|family| self.query_family(family, 0, &mut visit))
    }

    /// The listeners of one family on a port.
    pub(super) fn on_port(&mut self, family: AddressFamily, port: u16) -> io::Result<Vec<ListeningSocket>> {
        let mut found = Vec::new();
        // The kernel filters by port.
        self.query_family(family, port, &mut |at, listener| found.extend((at == port).then_some(listener)))?;
        Ok(found)
    }

    /// The listeners of one family and, unless it is 0, one port.
    fn query_family(
        &mut self,
        family: AddressFamily,
        port: u16,
        visit: &mut impl FnMut(u16, ListeningSocket),
    ) -> io::Result<()> {
        self.socket.send(&request(family, port), 0)?;
        while self.receive(&mut |listener: &InetResponse| {
            let id = &listener.header.socket_id;
            let address = id.source_address.to_canonical();
            visit(id.source_port, ListeningSocket { address, inode: listener.header.inode });
        })? {}
        Ok(())
    }

    /// Receives one part of the reply. Returns whether more parts follow.
    fn receive(&mut self, visit: &mut impl FnMut(&InetResponse)) -> io::Result<bool> {
        self.part.clear();
        self.socket.recv(&mut self.part, 0)?;
        let mut rest = self.part.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            match &message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => visit(response),
                NetlinkPayload::Done(_) => return Ok(false),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            // Messages are aligned to four bytes.
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length.max(4)..).unwrap_or_default();
        }
        Ok(true)
    }
}

/// The family of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressFamily {
    Four,
    Six,
}

fn request(family: AddressFamily, port: u16) -> Vec<u8> {
    let (family, any) = match family {
        AddressFamily::Four => (AF_INET, SocketId::new_v4()),
        AddressFamily::Six => (AF_INET6, SocketId::new_v6()),
    };
    let socket_id = SocketId { source_port: port, ..any };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::LISTEN,
        socket_id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}
