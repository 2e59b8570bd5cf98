//! The media server: RTSP connections, UDP, rights, streams on demand, the link to a CMS.

mod cidr;
mod demand;
mod limits;
mod ports;

pub use cidr::{Cidr, CidrError};
pub use demand::{DemandError, OnDemand};
pub use limits::Limits;
