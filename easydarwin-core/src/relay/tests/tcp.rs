use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::rig::{Camera, frames, hub, video};
use crate::relay::{ReaderEnd, ReaderOptions, TcpSink};

/// Real sockets: what is pushed arrives whole, in order, and ends with the stream.
#[tokio::test]
async fn over_real_sockets() {
    let hub = hub();
    let mut camera = Camera::new(&hub, true);
    for _ in 0..3 {
        camera.push_picture();
        camera.publisher.flush(Instant::now());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut peers = Vec::new();
    let mut handles = Vec::new();
    for _ in 0..20 {
        let peer = TcpStream::connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let prepared = camera
            .publisher
            .stream()
            .prepare(ReaderOptions::new("test"));
        handles.push(prepared.start(TcpSink::new(Arc::new(server))));
        peers.push(tokio::spawn(async move {
            let mut peer = peer;
            let mut got = Vec::new();
            peer.read_to_end(&mut got).await.unwrap();
            got
        }));
    }
    for _ in 0..200 {
        camera.push_picture();
        camera.publisher.flush(Instant::now());
        tokio::task::yield_now().await;
    }
    drop(camera);
    for handle in handles {
        assert!(matches!(handle.ended().await, ReaderEnd::Stream(_)));
    }
    for peer in peers {
        let frames = frames(&peer.await.unwrap());
        let pictures: Vec<_> = video(&frames);
        assert!(pictures[0].is_key());
        assert_eq!(pictures.len(), 203 * 4 + 9 * 16);
        assert!(
            pictures
                .windows(2)
                .all(|pair| pair[1].seq == pair[0].seq.wrapping_add(1))
        );
    }
}

/// What the kernel holds for a reader that does not read is seen, and does not keep its socket.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_the_kernel_holds_is_shown() {
    let hub = hub();
    let mut camera = Camera::new(&hub, false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut peer = TcpStream::connect(address).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let stream = camera.publisher.stream().clone();
    let handle = stream
        .prepare(ReaderOptions::new("stuck"))
        .start(TcpSink::new(Arc::new(server)));
    let fresh = handle.info();
    assert_eq!(fresh.kernel_bytes, Some(0));
    assert_eq!(fresh.kernel_unsent_bytes, Some(0));
    while handle.info().blocked == 0 {
        camera.push_picture();
        camera.publisher.flush(Instant::now());
        tokio::task::yield_now().await;
    }
    let stuck = handle.info();
    let (held, unsent) = (stuck.kernel_bytes.unwrap(), stuck.kernel_unsent_bytes);
    assert!(unsent.unwrap() > 0 && unsent.unwrap() <= held);
    assert!(held <= stuck.bytes);
    drop(handle);
    // Nobody keeps the socket now: the peer gets its end.
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.len(), usize::try_from(stuck.bytes).unwrap());
    let info = stream.info();
    assert!(info.left[0].reader.kernel_bytes.unwrap() > 0);
}
