//! Media that publishers send by datagrams. Players over UDP are the relay's.

mod ports;
mod publisher;
mod socket;

pub(super) use ports::{PortPool, UdpPair};
pub(super) use publisher::{Datagram, UdpIngest};
