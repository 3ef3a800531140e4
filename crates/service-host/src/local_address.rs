//! Recognizes names and addresses of this machine, without a resolver.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of a host that is certainly this machine; none for any other name. Every resolver maps `localhost` and
/// its subdomains to this machine (RFC 6761).
pub fn local_addresses(host: &str) -> Vec<IpAddr> {
    let host = strip_brackets(host);
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    }
    let address = host.parse::<IpAddr>().ok().map(to_reachable);
    address.filter(|address| address.to_canonical().is_loopback()).into_iter().collect()
}

/// Replaces the unspecified address, which connects to this machine.
pub fn to_reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(four) if four.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(six) if six.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

/// Removes the brackets of an IPv6 address in a URL.
pub fn strip_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_host_is_not_this_machine() {
        assert_eq!(local_addresses("notlocalhost"), [] as [IpAddr; 0]);
        assert_eq!(local_addresses("192.0.2.1"), [] as [IpAddr; 0]);
    }
}
