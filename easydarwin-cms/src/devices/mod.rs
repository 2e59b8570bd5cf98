//! Devices: who is registered, how they prove who they are, their snapshots.

mod pending;
mod presence;
mod register;
mod session;
mod snapshot;
mod talk;
mod told;
mod upload;
mod used;

pub(crate) use pending::PendingDevices;
pub(crate) use presence::{
    SeenDevices, changed, expect_known, explained, heard, write_changed, write_present,
};
pub(crate) use register::{
    Challenge, Registration, come_again, is_detailed, keep_alive, register, renew,
};
pub(crate) use session::{AckError, DeviceInfo, Session, Sessions};
pub(crate) use snapshot::{Snapshots, is_jpeg, store_snapshot};
pub(crate) use talk::{Talk, TalkLocks};
pub(crate) use told::{Healths, told};
pub(crate) use upload::{NoUpload, Upload, ticket, wants_upload};
pub(crate) use used::{Uses, write_uses};
