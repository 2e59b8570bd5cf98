//! What a client asks the CMS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A client with a key.
#[derive(Debug, Clone)]
pub struct Api {
    /// The CMS.
    pub cms: SocketAddr,
    /// Its key.
    pub key: String,
}

impl Api {
    /// The body of the answer to `GET path`; an error for every status but 200.
    pub fn get(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut tcp = TcpStream::connect_timeout(&self.cms, PATIENCE)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let (cms, key) = (self.cms, &self.key);
        tcp.write_all(
            format!(
                "GET {path} HTTP/1.1\r\nHost: {cms}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
            )
            .as_bytes(),
        )?;
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer)?;
        let end = answer
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .ok_or_else(|| io::Error::other(format!("GET {path}: no whole answer")))?;
        let body = answer.split_off(end + 4);
        if answer.starts_with(b"HTTP/1.1 200") {
            return Ok(body);
        }
        let line = String::from_utf8_lossy(&answer);
        let line = line.lines().next().unwrap_or_default().to_owned();
        Err(io::Error::other(format!("GET {path}: {line}")))
    }

    /// `Body` of the answer of the old interface; an error for every `ErrorNum` but 200.
    pub fn easy(&self, request: &str) -> io::Result<Value> {
        let body = self.get(&format!("/api/v1/{request}"))?;
        let mut value: Value = serde_json::from_slice(&body)?;
        let mut inner = value["EasyDarwin"].take();
        let number = inner["Header"]["ErrorNum"].as_str().unwrap_or_default();
        if number == "200" {
            return Ok(inner["Body"].take());
        }
        Err(io::Error::other(format!(
            "{request}: {number} {}",
            inner["Body"]
        )))
    }
}
