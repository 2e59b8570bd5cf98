use std::io::{self, IoSlice};

use bytes::{Buf as _, BytesMut};

use super::random::random;
use super::{ClientError, ClientOptions};
use crate::media::base64;
use crate::rtsp::ClientUrl;
use crate::wire::Channel;

/// Most bytes of RTSP that are encoded while the socket takes none: a multiple of three, so that
/// the pieces of one message need no padding between them.
const PIECE: usize = 24 * 1024;
/// Read at once; with TLS more than a record has to fit.
const READ: usize = 20 * 1024;
/// Longest head of the server's answer.
const MAX_HEAD: usize = 8 * 1024;
/// Headers of the server's answer.
const MAX_HEADERS: usize = 64;

/// RTSP over two HTTP connections: requests go out in base64 on a POST without end, answers and
/// media come on a GET.
#[derive(Debug)]
pub(super) struct Tunnel {
    get: Channel,
    post: Channel,
    encoded: BytesMut,
}

impl Tunnel {
    /// Opens both halves. `get` and `post` are connections to the same server. What came behind
    /// its answer goes to `input`.
    pub(super) async fn open(
        get: Channel,
        post: Channel,
        url: &ClientUrl,
        options: &ClientOptions,
        input: &mut BytesMut,
    ) -> Result<Self, ClientError> {
        let cookie = format!("{:016x}{:04x}", random(), random() & 0xffff);
        let head = |method: &str, more: &str| {
            format!(
                "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nx-sessioncookie: {cookie}\r\n\
                 {more}Pragma: no-cache\r\nCache-Control: no-cache\r\n\r\n",
                url.path(),
                url.authority(),
                options.user_agent
            )
        };
        let asked = head("GET", "Accept: application/x-rtsp-tunnelled\r\n");
        get.write_all(asked.as_bytes()).await?;
        read_answer(&get, input).await?;
        // The length is made up, as everybody's: it has no end.
        let begun = head(
            "POST",
            "Content-Type: application/x-rtsp-tunnelled\r\nContent-Length: 32767\r\n\
             Expires: Sun, 9 Jan 1972 00:00:00 GMT\r\n",
        );
        post.write_all(begun.as_bytes()).await?;
        Ok(Self {
            get,
            post,
            encoded: BytesMut::new(),
        })
    }

    pub(super) fn reading(&self) -> &Channel {
        &self.get
    }

    pub(super) fn writing(&self) -> &Channel {
        &self.post
    }

    /// Takes bytes when all that was taken before is with the socket.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.flush()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        let mut text = String::with_capacity(piece.len().div_ceil(3).saturating_mul(4));
        base64::encode(piece, &mut text);
        self.encoded.extend_from_slice(text.as_bytes());
        self.flush()?;
        Ok(piece.len())
    }

    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while !self.encoded.is_empty() {
            match self.post.try_write(&[IoSlice::new(&self.encoded)]) {
                Ok(count) => self.encoded.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.post.flush()
    }

    pub(super) fn has_left(&self) -> bool {
        !self.encoded.is_empty() || self.post.has_left()
    }
}

async fn read_answer(get: &Channel, input: &mut BytesMut) -> Result<(), ClientError> {
    let mut buffer = vec![0; READ];
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(input) {
            Ok(httparse::Status::Complete(length)) => match response.code {
                Some(200) => {
                    input.advance(length);
                    return Ok(());
                }
                status => {
                    return Err(ClientError::NoTunnel {
                        status: status.unwrap_or_default(),
                    });
                }
            },
            Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => {}
            _ => return Err(ClientError::NoTunnel { status: 0 }),
        }
        match get.try_read(&mut buffer)? {
            Some(0) => return Err(ClientError::Closed),
            Some(count) => input.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            None => get.readable().await?,
        }
    }
}
