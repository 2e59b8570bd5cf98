//! WebSocket frames (RFC 6455) around a byte stream, on the server's side.
//!
//! Own and not a library's, because a reader's sink must hold nothing: a frame is announced with
//! the length of what is to be written, and whatever is written next fills it, whether or not the
//! socket takes it at once. What it carries is a byte stream that tells itself where messages end.

use thiserror::Error;

/// Payload of control frames, at most (RFC 6455, 5.5).
const MAX_CONTROL: usize = 125;
const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASK: u8 = 0x80;
const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a client must not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum FrameError {
    #[error("a WebSocket frame without mask")]
    Unmasked,
    #[error("a WebSocket frame that is not binary")]
    NotBinary,
    #[error("a WebSocket frame out of its order")]
    Order,
    #[error("a WebSocket frame of an unknown kind or with reserved bits")]
    Unknown,
    #[error("a WebSocket frame with a length that is not allowed")]
    Length,
}

/// What the client said beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// To be answered with the same bytes.
    Ping(Vec<u8>),
    /// It closes.
    Close,
}

/// Takes the client's frames apart, wherever they are cut.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The beginning of a frame's header.
    header: Vec<u8>,
    frame: Option<Frame>,
    /// A message goes on in the next frame.
    fragmented: bool,
    closed: bool,
}

#[derive(Debug)]
struct Frame {
    opcode: u8,
    left: u64,
    mask: [u8; 4],
    at: usize,
    /// Payload of a control frame.
    control: Vec<u8>,
}

impl Decoder {
    /// Decodes in place: the front of `bytes` is what the client's messages hold. Returns how much
    /// it is. After [`Said::Close`] nothing more comes.
    pub(crate) fn decode(
        &mut self,
        bytes: &mut [u8],
        mut said: impl FnMut(Said),
    ) -> Result<usize, FrameError> {
        let mut filled: usize = 0;
        for at in 0..bytes.len() {
            let Some(&byte) = bytes.get(at) else { break };
            if self.closed {
                break;
            }
            match &mut self.frame {
                None => {
                    self.header.push(byte);
                    self.begin()?;
                }
                Some(frame) => {
                    let clear = byte ^ frame.mask.get(frame.at & 3).copied().unwrap_or(0);
                    frame.at = frame.at.wrapping_add(1);
                    frame.left = frame.left.saturating_sub(1);
                    if frame.opcode >= CLOSE {
                        frame.control.push(clear);
                    } else if let Some(slot) = bytes.get_mut(filled) {
                        *slot = clear;
                        filled = filled.saturating_add(1);
                    }
                }
            }
            if let Some(over) = self.frame.take_if(|frame| frame.left == 0) {
                match over.opcode {
                    PING => said(Said::Ping(over.control)),
                    CLOSE => {
                        self.closed = true;
                        said(Said::Close);
                    }
                    _ => {}
                }
            }
        }
        Ok(filled)
    }

    /// Begins a frame when its header is complete.
    fn begin(&mut self) -> Result<(), FrameError> {
        let [first, second, rest @ ..] = self.header.as_slice() else {
            return Ok(());
        };
        let (opcode, last) = (first & OPCODE, first & FIN != 0);
        if first & RESERVED != 0 {
            return Err(FrameError::Unknown);
        }
        if second & MASK == 0 {
            return Err(FrameError::Unmasked);
        }
        let short = second & !MASK;
        let (left, rest) = match short {
            126 => match rest.split_first_chunk::<2>() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(()),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(()),
            },
            length => (u64::from(length), rest),
        };
        let Ok(mask) = <[u8; 4]>::try_from(rest) else {
            return Ok(());
        };
        match opcode {
            CONTINUATION if !self.fragmented => return Err(FrameError::Order),
            BINARY if self.fragmented => return Err(FrameError::Order),
            CONTINUATION | BINARY => self.fragmented = !last,
            CLOSE | PING | PONG if !last || usize::from(short) > MAX_CONTROL => {
                return Err(FrameError::Length);
            }
            CLOSE | PING | PONG => {}
            1 => return Err(FrameError::NotBinary),
            _ => return Err(FrameError::Unknown),
        }
        if left > u64::MAX / 2 {
            return Err(FrameError::Length);
        }
        self.header.clear();
        self.frame = Some(Frame {
            opcode,
            left,
            mask,
            at: 0,
            control: Vec::new(),
        });
        Ok(())
    }
}

/// Announces what is written, and puts answers between the frames.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// Bytes of the announced frame that are not written yet.
    announced: usize,
    /// What goes first: the rest of a header, or control frames.
    front: Vec<u8>,
    /// A control frame that waits for the end of the announced one; a newer one takes its place.
    control: Option<Vec<u8>>,
    closed: bool,
}

impl Encoder {
    /// What has to be written before `length` bytes of payload, and how many of those may follow.
    pub(crate) fn prepare(&mut self, length: usize) -> (&[u8], usize) {
        if self.announced == 0 && self.front.is_empty() {
            if let Some(control) = self.control.take() {
                self.front = control;
            }
            if length > 0 && !self.closed {
                header(BINARY, length, &mut self.front);
                self.announced = length;
            }
        }
        (&self.front, length.min(self.announced))
    }

    /// So many bytes of both were written. Returns how many of them were payload.
    pub(crate) fn wrote(&mut self, count: usize) -> usize {
        let front = count.min(self.front.len());
        self.front.drain(..front);
        let payload = count.saturating_sub(front);
        self.announced = self.announced.saturating_sub(payload);
        payload
    }

    /// Whether something waits that no payload brings.
    pub(crate) fn has_left(&self) -> bool {
        !self.front.is_empty() || (self.announced == 0 && self.control.is_some())
    }

    /// Answers a ping.
    pub(crate) fn pong(&mut self, payload: &[u8]) {
        if !self.closed {
            self.control(PONG, payload);
        }
    }

    /// Says goodbye (1000: done, RFC 6455, 7.4.1). Nothing may be written after it.
    pub(crate) fn close(&mut self) {
        if !self.closed {
            self.control(CLOSE, &1000_u16.to_be_bytes());
            self.closed = true;
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    fn control(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = Vec::new();
        header(opcode, payload.len(), &mut frame);
        frame.extend_from_slice(payload);
        self.control = Some(frame);
    }
}

/// A header without mask, the server's form (RFC 6455, 5.2).
fn header(opcode: u8, length: usize, out: &mut Vec<u8>) {
    out.push(FIN | opcode);
    if let Ok(short @ 0..=125) = u8::try_from(length) {
        out.push(short);
    } else if let Ok(short) = u16::try_from(length) {
        out.push(126);
        out.extend_from_slice(&short.to_be_bytes());
    } else {
        out.push(127);
        let long = u64::try_from(length).unwrap_or(u64::MAX);
        out.extend_from_slice(&long.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
