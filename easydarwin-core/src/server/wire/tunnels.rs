use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::server::limits::Admitted;
use crate::wire::Channel;
use crate::wire::http::HttpError;

/// The tunnels of a server: which GET waits for which POST.
///
/// A tunnel is found by cookie *and* address, so a cookie that was guessed or overheard is worth
/// nothing elsewhere.
#[derive(Debug)]
pub(crate) struct Tunnels {
    limit: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_cookie: HashMap<(IpAddr, String), Entry>,
    /// How many have no POST yet.
    waiting: usize,
}

#[derive(Debug)]
struct Entry {
    posts: mpsc::Sender<PostHalf>,
    taken: Arc<AtomicBool>,
    had_post: bool,
}

/// The half on which the client writes.
#[derive(Debug)]
pub(crate) struct PostHalf {
    pub(super) channel: Channel,
    /// What came behind its head.
    pub(super) early: Vec<u8>,
    /// Its place among the connections, held as long as it is open.
    pub(super) _admitted: Admitted,
}

/// The half on which we write, in the list until dropped.
#[derive(Debug)]
pub(crate) struct GetHalf {
    tunnels: Arc<Tunnels>,
    key: (IpAddr, String),
    pub(super) posts: mpsc::Receiver<PostHalf>,
    /// A POST is open: no other one is taken.
    pub(super) taken: Arc<AtomicBool>,
}

impl Tunnels {
    /// At most `limit` GETs wait for their POST.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            open: Mutex::default(),
        })
    }

    /// A GET came.
    pub(super) fn get(
        self: &Arc<Self>,
        peer: IpAddr,
        cookie: String,
    ) -> Result<GetHalf, HttpError> {
        let key = (peer, cookie);
        let mut open = self.open.lock();
        if open.by_cookie.contains_key(&key) {
            return Err(HttpError::TunnelTaken);
        }
        if open.waiting >= self.limit {
            return Err(HttpError::TooMany);
        }
        open.waiting = open.waiting.saturating_add(1);
        let (sender, posts) = mpsc::channel(1);
        let taken = Arc::new(AtomicBool::new(false));
        let entry = Entry {
            posts: sender,
            taken: taken.clone(),
            had_post: false,
        };
        open.by_cookie.insert(key.clone(), entry);
        drop(open);
        Ok(GetHalf {
            tunnels: self.clone(),
            key,
            posts,
            taken,
        })
    }

    /// A POST came. Another one is taken only when the one before has ended: clients may close it
    /// while they have nothing to ask.
    pub(super) fn post(
        &self,
        peer: IpAddr,
        cookie: String,
        half: PostHalf,
    ) -> Result<(), (PostHalf, HttpError)> {
        let mut open = self.open.lock();
        let Open { by_cookie, waiting } = &mut *open;
        let Some(entry) = by_cookie.get_mut(&(peer, cookie)) else {
            return Err((half, HttpError::NoTunnel));
        };
        if entry.taken.swap(true, Ordering::AcqRel) {
            return Err((half, HttpError::TunnelTaken));
        }
        if !std::mem::replace(&mut entry.had_post, true) {
            *waiting = waiting.saturating_sub(1);
        }
        entry.posts.try_send(half).map_err(|error| {
            let half = match error {
                mpsc::error::TrySendError::Full(half) | mpsc::error::TrySendError::Closed(half) => {
                    half
                }
            };
            (half, HttpError::NoTunnel)
        })
    }
}

impl Drop for GetHalf {
    fn drop(&mut self) {
        let mut open = self.tunnels.open.lock();
        let gone = open.by_cookie.remove(&self.key);
        if gone.is_some_and(|entry| !entry.had_post) {
            open.waiting = open.waiting.saturating_sub(1);
        }
    }
}
