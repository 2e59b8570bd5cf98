//! The functions that C calls: each reads what the pointers show and calls safe code inside
//! the guard.
#![allow(unsafe_code)]

mod camera;
mod config;
mod event;
mod frame;
mod library;
mod report;

pub use camera::*;
pub use config::*;
pub use event::*;
pub use frame::*;
pub use library::*;
pub use report::*;
