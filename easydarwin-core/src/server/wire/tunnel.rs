use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::Ordering;
use std::task::Poll;

use parking_lot::Mutex;

use super::tunnels::{GetHalf, PostHalf};
use crate::wire::Channel;
use crate::wire::base64::Decoder;

/// Base64 read at once; with TLS more than a record has to fit.
const READ: usize = 32 * 1024;

thread_local! {
    static ENCODED: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// RTSP over two HTTP connections: answers and media go out on the GET, requests come in base64 on
/// the POST. Neither `Content-Length` means anything here; clients make one up.
#[derive(Debug)]
pub(crate) struct Tunnel {
    get: Channel,
    input: Mutex<Input>,
}

#[derive(Debug)]
struct Input {
    half: GetHalf,
    post: Option<PostHalf>,
    decoder: Decoder,
}

impl Tunnel {
    pub(super) fn new(get: Channel, half: GetHalf, post: PostHalf) -> Self {
        Self {
            get,
            input: Mutex::new(Input {
                half,
                post: Some(post),
                decoder: Decoder::default(),
            }),
        }
    }

    /// Both halves have to be: requests hold the credentials.
    pub(super) fn is_secure(&self) -> bool {
        let input = self.input.lock();
        let post = input.post.as_ref();
        self.get.is_secure() && post.is_none_or(|post| post.channel.is_secure())
    }

    pub(super) fn writing(&self) -> &Channel {
        &self.get
    }

    /// Until a read may bring something.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        let post = {
            let input = self.input.lock();
            match &input.post {
                Some(post) if !post.early.is_empty() => return Ok(()),
                post => post.as_ref().map(|post| post.channel.clone()),
            }
        };
        let post = async {
            match post {
                Some(post) => post.readable().await,
                None => self.next_post().await,
            }
        };
        tokio::select! {
            result = self.get.readable() => result,
            result = post => result,
        }
    }

    /// Reads what there is; `None`: nothing now, 0: the peer closed.
    pub(crate) fn try_read(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        ENCODED.with_borrow_mut(|buffer| {
            // Nothing may come on the GET, and its end is the end of all.
            match self.get.try_read(buffer)? {
                None => {}
                Some(0) => return Ok(Some(0)),
                Some(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
            let mut input = self.input.lock();
            let Input {
                half,
                post: slot,
                decoder,
            } = &mut *input;
            let Some(post) = slot else {
                return Ok(None);
            };
            let early = std::mem::take(&mut post.early);
            let encoded = if early.is_empty() {
                let most = buffer.len().min(room.len());
                let buffer = buffer.get_mut(..most).unwrap_or_default();
                match post.channel.try_read(buffer) {
                    Ok(None) => return Ok(None),
                    // The client may open another one when it has something to ask.
                    Ok(Some(0)) | Err(_) => {
                        *slot = None;
                        *decoder = Decoder::default();
                        half.taken.store(false, Ordering::Release);
                        return Ok(None);
                    }
                    Ok(Some(count)) => buffer.get(..count).unwrap_or_default(),
                }
            } else {
                &early
            };
            let count = decoder
                .decode(encoded, room)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            Ok((count > 0).then_some(count))
        })
    }

    async fn next_post(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let mut input = self.input.lock();
            match input.half.posts.poll_recv(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Some(post)) => {
                    input.post = Some(post);
                    Poll::Ready(Ok(()))
                }
            }
        })
        .await
    }
}
