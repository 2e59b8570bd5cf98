//! The EasyDarwin JSON protocol, sans-IO: what a device, the CMS and the media nodes say to each
//! other over TCP.
//!
//! Bytes become a [`Frame`] (an HTTP-looking head and a body), its body an [`Envelope`]
//! (`EasyDarwin` / `Header` / `Body`), an envelope a typed message such as [`Register`] or
//! [`PushRequest`]. Nothing here knows a socket or a clock.
//!
//! What is read may come from devices of ten years, so the reading side takes either start line,
//! header names in any case, and numbers where strings belong. The writing side always gives the
//! one form that every known device reads: sorted keys, three blanks of indent, `"key" : "value"`.
//!
//! ```
//! use easydarwin_core::protocol::{AppType, Envelope, MessageReader, Register, TerminalType};
//!
//! let register = Register::new("001001000099", AppType::EasyCamera, TerminalType::Linux);
//! let bytes = register.to_envelope(1).to_request("EasyCamera/1.0");
//!
//! let mut reader = MessageReader::default();
//! reader.push(&bytes);
//! let message = reader.next_message()?.expect("one whole message");
//! let parsed = Register::from_envelope(&message.envelope()?)?;
//! assert_eq!(parsed.serial, "001001000099");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod clock;
mod control;
mod device;
mod envelope;
mod error_num;
mod event;
mod ext;
mod fields;
mod frame;
#[cfg(feature = "login")]
pub mod login;
mod manage;
mod names;
pub mod node;
mod reader;
mod serial;
mod snapshot;
mod stream;
mod upload;

pub use client::{FreeStream, StreamRef};
pub use clock::ClockQuality;
pub use control::{ControlAck, PresetRequest, PtzRequest, TalkbackRequest};
pub use device::{AppType, ChannelInfo, Register, RegisterAck, TerminalType};
pub use envelope::{Envelope, EnvelopeError, VERSION};
pub use error_num::ErrorNum;
pub use event::{DeviceEvent, DeviceEventAck, DeviceEventError, EventLevel};
pub use ext::{Ext, Extension};
pub use fields::Fields;
pub use frame::{Frame, FrameDecoder, FrameError, FrameLimits, StartLine};
pub use manage::{ConfigRequest, RebootRequest, Setting, SnapshotRequest};
pub use names::MessageType;
pub use reader::{MessageReader, OwnedFrame};
pub use serial::{SerialError, check_serial, parse_channel};
pub use snapshot::{Snapshot, SnapshotAck};
pub use stream::{PushAck, PushRequest, Route, StopAck, StopRequest};
pub use upload::{UploadAck, UploadRequest, UploadTicket};
