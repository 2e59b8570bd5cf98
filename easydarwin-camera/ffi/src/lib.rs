//! The camera SDK for C: `libedc`, declared by `include/easydarwin_camera.h`.
//!
//! What a vendor has to know is in `docs/firmware.md`. Inside:
//!
//! - `abi`: what C sees: structs, constants, codes.
//! - `entry`: the functions that C calls. Each is a few lines: it reads what the pointers show,
//!   and calls safe code inside `guard`, which turns errors and panics into codes.
//! - `raw`: the pointers in, the structs out.
//! - `table`: handles; finds a stream without a lock.
//! - `config`: what a camera is to run with, checked as it is set.
//! - `callback`: functions of the vendor; `tls`: those that speak TLS.
//! - `network`: the thread that belongs to a camera, and what it tells.
//! - `system`: signals, priorities, processes.
//!
//! `unsafe` is in `entry`, `raw`, `callback`, `system` and `table/cell` only.

mod abi;
mod callback;
mod config;
mod entry;
mod event;
mod failure;
mod guard;
mod instance;
mod network;
mod raw;
mod system;
mod table;
mod tls;

pub use abi::*;
pub use entry::*;
