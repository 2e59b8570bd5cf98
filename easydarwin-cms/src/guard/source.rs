use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who is meant by an address: an IPv4 address, or the /64 of an IPv6 address, which one
/// household has whole.
///
/// One number: the /64's upper half, or the IPv4 address, whose upper 32 bits are zero. No /64
/// that peers come from begins with 32 zero bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source(u64);

impl Source {
    pub(super) fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                u64::from_be_bytes([a, b, c, d, e, f, g, h])
            }
        })
    }

    pub(super) fn key(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u32::try_from(self.0) {
            Ok(v4) => write!(f, "{}/32", Ipv4Addr::from(v4)),
            Err(_) => write!(f, "{}/64", Ipv6Addr::from(u128::from(self.0) << 64)),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_is_one_source() {
        for (address, shown) in [
            ("10.0.0.1", "10.0.0.1/32"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ] {
            assert_eq!(Source::of(address.parse().unwrap()).to_string(), shown);
        }
    }
}
