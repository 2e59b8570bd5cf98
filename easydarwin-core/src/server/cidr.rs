use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// A range of addresses, written `192.168.0.0/16`, `::1/128` or as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: u128,
    prefix: u8,
    v4: bool,
}

/// The text is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no address range; write for example 192.168.0.0/16, ::1/128 or 127.0.0.1")]
pub struct CidrError(String);

impl Cidr {
    /// `127.0.0.0/8` and `::1`: programs on this machine.
    pub fn loopback() -> [Self; 2] {
        [
            Self::masked(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8),
            Self::masked(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 128),
        ]
    }

    /// Whether the address lies within. An IPv4 address that came mapped into IPv6 counts as
    /// what it is.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.v4 && Self::masked(ip, self.prefix).network == self.network
    }

    fn masked(ip: IpAddr, prefix: u8) -> Self {
        let (bits, width) = match ip {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)), 32_u32),
            IpAddr::V6(ip) => (u128::from(ip), 128),
        };
        let host_bits = width.saturating_sub(u32::from(prefix));
        let network = bits.checked_shr(host_bits).unwrap_or(0);
        Self {
            network: network.checked_shl(host_bits).unwrap_or(0),
            prefix,
            v4: width == 32,
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let error = || CidrError(text.to_owned());
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| error())?;
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(text) => text.parse().map_err(|_| error())?,
            None => width,
        };
        if prefix > width {
            return Err(error());
        }
        Ok(Self::masked(ip, prefix))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = if self.v4 {
            IpAddr::V4(u32::try_from(self.network).unwrap_or(0).into())
        } else {
            IpAddr::V6(self.network.into())
        };
        write!(f, "{ip}/{}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_should() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("::1", "::1", "::2"),
            ("fe80::/10", "fe80::1", "fc00::1"),
            ("127.0.0.0/8", "::ffff:127.0.0.1", "::1"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
        ] {
            let cidr: Cidr = range.parse().unwrap();
            assert!(
                cidr.contains(inside.parse().unwrap()),
                "{inside} in {range}"
            );
            assert!(
                !cidr.contains(outside.parse().unwrap()),
                "{outside} in {range}"
            );
        }
        assert_eq!(
            "10.9.8.7/8".parse::<Cidr>().unwrap().to_string(),
            "10.0.0.0/8"
        );
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in [
            "",
            "10.0.0.0/33",
            "host",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "::1/129",
        ] {
            let error = text.parse::<Cidr>().unwrap_err();
            assert!(error.to_string().contains("192.168.0.0/16"), "{text}");
        }
    }
}
