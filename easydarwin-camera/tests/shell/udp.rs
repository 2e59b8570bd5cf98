use easydarwin_camera::source::PatternSource;
use easydarwin_camera::{Camera, CameraEvent, PushTransport};
use easydarwin_core::server::MediaServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Running, SERIAL, SOON, listener, path, soon};

#[tokio::test]
async fn pushes_over_udp_without_a_cms() {
    let server = MediaServer::builder()
        .authorizer(easydarwin_core::registry::AllowAll)
        .build()
        .await
        .unwrap();
    let (url, hub) = (
        format!("rtsp://{}/{SERIAL}/1", server.rtsp_addr()),
        server.hub().clone(),
    );
    tokio::spawn(server.run(std::future::pending()));
    let camera = Running::start(
        Camera::builder()
            .push_to(url)
            .transport(PushTransport::Udp)
            .source(PatternSource::new(SERIAL)),
    );
    assert!(hub.wait(&path(), true, SOON).await.is_some());
    camera.stop().await;
}

/// A media server that agrees to `transport` for every track, until the camera hangs up; what was
/// asked in SETUP.
async fn agree(listener: &TcpListener, transport: &str) -> Vec<String> {
    let (mut stream, _) = soon("the camera's connection", listener.accept())
        .await
        .unwrap();
    let (mut text, mut setups) = (String::new(), Vec::new());
    let mut buffer = [0; 4096];
    loop {
        let read = soon("a request", stream.read(&mut buffer)).await;
        let count = read.unwrap_or(0);
        if count == 0 {
            return setups;
        }
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        while let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| {
                let mut lines = head.lines();
                lines.find_map(|line| line.strip_prefix(name).map(str::to_owned))
            };
            let length = header("Content-Length: ").map_or(0, |text| text.parse().unwrap());
            if rest.len() < length {
                break;
            }
            let cseq = header("CSeq: ").unwrap();
            setups.extend(header("Transport: "));
            let answer = format!(
                "RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nSession: 1\r\nTransport: {transport}\r\n\r\n"
            );
            text = rest[length..].to_owned();
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return setups;
            }
        }
    }
}

#[tokio::test]
async fn closed_udp_ports_give_way_to_tcp() {
    let listener = listener().await;
    let port = listener.local_addr().unwrap().port();
    // Nobody listens there once it is known to have been free.
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = closed.local_addr().unwrap().port();
    drop(closed);
    let builder = Camera::builder()
        .push_to(format!("rtsp://127.0.0.1:{port}/cam"))
        .transport(PushTransport::Udp)
        .source(PatternSource::new(SERIAL));
    let mut running = Running::start(builder);
    let transport = format!(
        "RTP/AVP;unicast;client_port=1-2;server_port={udp}-{}",
        udp + 1
    );
    let setups = agree(&listener, &transport).await;
    assert!(setups.iter().all(|asked| asked.contains("client_port=")));
    let failed = running
        .until(|event| matches!(event, CameraEvent::PushFailed { .. }))
        .await;
    assert!(format!("{failed:?}").contains("UDP ports"), "{failed:?}");
    let next = soon("the next try", async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream
            .write_all(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")
            .await
            .unwrap();
        let count = stream.read(&mut buffer).await.unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    });
    let next = next.await;
    assert!(next.contains("interleaved=0-1"), "{next}");
    running.stop().await;
}
