//! Publisher and player against a small server of the test's own, which forwards packets from
//! one publisher to all players, over TCP and UDP.

mod faults;
mod flow;
mod logins;
mod pause;
mod server;
#[cfg(all(feature = "tls", feature = "server", feature = "tunnel"))]
mod stack;

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::*;
use crate::media::{AccessUnit, H264Params, SessionDescription, Track};

/// Longest a test waits for something that must happen.
const SOON: Duration = Duration::from_secs(10);

fn description() -> SessionDescription {
    SessionDescription {
        name: "test".to_owned(),
        control: None,
        tracks: vec![Track::h264(96, H264Params::default()), Track::opus(97)],
    }
}

/// Picture or sound number `n`, 25 a second, with content that tells its number.
fn unit(track: usize, n: u8) -> AccessUnit {
    let (ticks, data) = match track {
        0 => {
            let kind = if n == 0 { 0x65 } else { 0x41 };
            // Large enough for several packets.
            let mut slice = vec![n; 5000];
            slice[..2].copy_from_slice(&[kind, 0x80]);
            (3600, Bytes::from(slice))
        }
        _ => (1920, Bytes::from(vec![n; 200])),
    };
    AccessUnit {
        track,
        pts: i64::from(n) * ticks,
        arrival: Instant::now(),
        ntp: Some(
            SystemTime::UNIX_EPOCH
                + Duration::from_secs(1_800_000_000)
                + Duration::from_millis(40) * n.into(),
        ),
        key: track != 0 || n == 0,
        discontinuity: false,
        lossy: false,
        data: vec![data],
    }
}

fn options(transport: ClientTransport) -> ClientOptions {
    ClientOptions {
        transport,
        request_timeout: Duration::from_secs(5),
        ..ClientOptions::default()
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .expect("this should have happened by now")
}
