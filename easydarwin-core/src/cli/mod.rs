//! What the `easydarwin` program is made of; the examples reuse it.

mod settings;

pub use settings::{
    CidrText, DEFAULT_HTTP_PORT, DEFAULT_RTSP_PORT, PortRange, Secret, Settings, SettingsError,
};
