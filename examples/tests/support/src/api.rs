//! Small questions to our programs: HTTP and JSON, and whether a stream is there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long an answer may take; starting a stream has 10 s inside.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Pause between two questions when there is no event to wait for.
const POLL: Duration = Duration::from_millis(50);

/// GET; status and body.
///
/// # Errors
/// When nobody answered.
pub fn get(url: &str) -> Result<(u16, Vec<u8>), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(ANSWER_WITHIN))
        .build()
        .into();
    let mut answer = agent
        .get(url)
        .call()
        .map_err(|error| format!("{url}: {error}"))?;
    let body = answer
        .body_mut()
        .read_to_vec()
        .map_err(|error| format!("{url}: {error}"))?;
    Ok((answer.status().as_u16(), body))
}

/// GET of an EasyDarwin message: `ErrorNum` and `Body`.
///
/// # Errors
/// When nobody answered, or not in the form of such a message.
pub fn easy(url: &str) -> Result<(String, Value), String> {
    let (status, body) = get(url)?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let message: Value =
        serde_json::from_str(&text).map_err(|error| format!("{url}: {status} {error}: {text}"))?;
    let message = &message["EasyDarwin"];
    let number = message["Header"]["ErrorNum"]
        .as_str()
        .ok_or_else(|| format!("{url}: no ErrorNum in {text}"))?;
    Ok((number.to_owned(), message["Body"].clone()))
}

/// Asks until the answer is what is wanted: for states whose change no event reports.
///
/// # Panics
/// When it does not come within `limit`; `what` names it.
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match ask() {
            Ok(value) => return value,
            Err(error) if Instant::now() >= deadline => {
                panic!("{what}: not within {limit:?}; the last answer was: {error}")
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// One DESCRIBE: the status code and the SDP.
///
/// # Errors
/// When nobody answered.
pub fn describe(url: &str) -> Result<(u16, String), String> {
    let fail = |error: &dyn std::fmt::Display| format!("DESCRIBE {url}: {error}");
    let authority = url
        .strip_prefix("rtsp://")
        .and_then(|rest| rest.split('/').next())
        .ok_or("not an RTSP URL")?;
    let address: SocketAddr = authority.parse().map_err(|error| fail(&error))?;
    let mut stream =
        TcpStream::connect_timeout(&address, ANSWER_WITHIN).map_err(|error| fail(&error))?;
    stream
        .set_read_timeout(Some(ANSWER_WITHIN))
        .map_err(|error| fail(&error))?;
    let request = format!("DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .map_err(|error| fail(&error))?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&answer[..end]).into_owned();
            let status = head
                .split(' ')
                .nth(1)
                .and_then(|code| code.parse().ok())
                .ok_or("no status")?;
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if answer.len() >= end + 4 + length {
                let body = String::from_utf8_lossy(&answer[end + 4..end + 4 + length]).into_owned();
                return Ok((status, body));
            }
        }
        match stream.read(&mut piece).map_err(|error| fail(&error))? {
            0 => {
                return Err(format!(
                    "DESCRIBE {url}: closed after {} bytes",
                    answer.len()
                ));
            }
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
}

/// Waits until a published stream can be described.
///
/// # Panics
/// When it is not there within `limit`.
pub fn wait_live(url: &str, limit: Duration) {
    eventually(&format!("{url} is live"), limit, || match describe(url)? {
        (200, _) => Ok(()),
        (status, _) => Err(format!("status {status}")),
    });
}
