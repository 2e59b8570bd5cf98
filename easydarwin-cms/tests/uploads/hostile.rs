//! Those who put what they may not, slowly, twice, or not to the end. The device beside them
//! notices nothing.

use std::time::Duration;

use super::*;

const SHORT: Duration = Duration::from_millis(600);

fn with_ticket(ticket: &UploadTicket, text: &str) -> UploadTicket {
    UploadTicket {
        ticket: text.to_owned(),
        ..ticket.clone()
    }
}

fn at_path(ticket: &UploadTicket, path: &str) -> UploadTicket {
    UploadTicket {
        path: path.to_owned(),
        ..ticket.clone()
    }
}

#[tokio::test]
async fn only_the_ticket_of_this_channel_counts_and_only_once() {
    let cms = TestCms::start(|_| {}).await;
    let mut device = Device::new(&cms, "cam").await;
    let mut other = Device::new(&cms, "other").await;
    let (ticket, others) = (device.ticket(2).await, other.ticket(2).await);
    let body = picture(LARGE);
    for wrong in [
        with_ticket(&ticket, ""),
        with_ticket(&ticket, "guess"),
        with_ticket(&ticket, &others.ticket),
        with_ticket(&ticket, cms.handle.api_key()),
        at_path(&ticket, "/snap/cam/1"),
        at_path(&ticket, "/snap/other/2"),
        at_path(&ticket, "/snap/nobody/2"),
    ] {
        let (status, error) = Put::all(&cms, &wrong, &body).await;
        assert_eq!(status, 401, "{wrong:?}: {error}");
    }
    let (status, _) = Put::all(&cms, &at_path(&ticket, "/snap/cam"), &body).await;
    assert_eq!(status, 404);
    assert_eq!(loaded(&cms, "cam").await, None);
    // Nobody has used them up.
    assert_eq!(Put::all(&cms, &ticket, &body).await.0, 201);
    assert_eq!(Put::all(&cms, &others, &body).await.0, 201);
    assert_eq!(Put::all(&cms, &ticket, &body).await.0, 401);
    cms.stop().await;
}

#[tokio::test]
async fn a_ticket_ends_with_the_next_one_and_with_the_connection() {
    let cms = TestCms::start(|_| {}).await;
    let mut device = Device::new(&cms, "cam").await;
    let body = picture(10);
    let (first, second) = (device.ticket(1).await, device.ticket(1).await);
    assert_eq!(Put::all(&cms, &first, &body).await.0, 401, "replaced");
    // Its ticket is gone with its connection.
    device.peer.stream.shutdown().await.unwrap();
    device.peer.closed().await;
    assert_eq!(Put::all(&cms, &second, &body).await.0, 401);
    cms.stop().await;
}

#[tokio::test]
async fn a_ticket_grows_old() {
    let cms = TestCms::start(|c| c.token_ttl = Duration::ZERO).await;
    let mut device = Device::new(&cms, "cam").await;
    let ticket = device.ticket(1).await;
    assert_eq!(Put::all(&cms, &ticket, &picture(10)).await.0, 401);
    cms.stop().await;
}

#[tokio::test]
async fn what_is_no_picture_or_has_no_length_is_refused_and_the_ticket_stays() {
    let cms = TestCms::start(|_| {}).await;
    let mut device = Device::new(&cms, "cam").await;
    let ticket = device.ticket(1).await;
    for (fields, status) in [
        ("Transfer-Encoding: chunked", 411),
        ("X-Nothing: 1", 411),
        ("Content-Length: 1500001", 413),
        ("Content-Length: 9223372036854775807", 413),
        ("Content-Length: 10\r\nContent-Type: text/html", 415),
    ] {
        let mut peer = cms.connect().await;
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{fields}\r\n\r\n",
            ticket.path, ticket.ticket
        );
        peer.send(head.as_bytes()).await;
        let mut put = Put(peer);
        assert_eq!(put.answer().await.0, status, "{fields}");
    }
    assert_eq!(Put::all(&cms, &ticket, b"\xff\xd8\xff").await.0, 201);
    let ticket = device.ticket(1).await;
    let (status, error) = Put::all(&cms, &ticket, b"GIF89a, or so it says").await;
    assert_eq!((status, &*error), (415, "snapshots are JPEG"));
    assert_eq!(loaded(&cms, "cam").await.unwrap(), b"\xff\xd8\xff");
    cms.stop().await;
}

#[tokio::test]
async fn who_is_slow_or_breaks_off_holds_up_nobody() {
    let cms = TestCms::start(|c| {
        c.whole_message = SHORT;
        c.admit_wait = SHORT / 3;
        // One picture and a half.
        c.max_long_messages = LARGE * 3 / 2;
    })
    .await;
    let body = picture(LARGE);
    let mut slow = Device::new(&cms, "slow").await;
    let mut quick = Device::new(&cms, "quick").await;
    let ticket = slow.ticket(1).await;
    let mut dripping = Put::part(&cms, &ticket, &body[..1000]).await;
    let ticket = quick.ticket(1).await;
    let (status, error) = Put::all(&cms, &ticket, &body).await;
    assert_eq!(status, 503, "{error}");
    assert_eq!(dripping.answer().await.0, 408);
    let ticket = quick.ticket(1).await;
    assert_eq!(Put::all(&cms, &ticket, &body).await.0, 201);
    // Gone in the middle, again and again: nothing is left of it.
    for _ in 0..5 {
        let ticket = slow.ticket(1).await;
        drop(Put::part(&cms, &ticket, &body[..LARGE / 2]).await);
        let ticket = quick.ticket(1).await;
        assert_eq!(Put::all(&cms, &ticket, &body).await.0, 204);
    }
    assert_eq!(loaded(&cms, "slow").await, None);
    assert_eq!(loaded(&cms, "quick").await.unwrap(), body);
    cms.stop().await;
}

#[tokio::test]
async fn a_device_puts_two_at_once_and_not_for_one_that_took_its_place() {
    let cms = TestCms::start(|_| {}).await;
    let body = picture(LARGE);
    let mut device = Device::new(&cms, "cam").await;
    let mut running = Vec::new();
    for channel in 1..=2 {
        let ticket = device.ticket(channel).await;
        running.push(Put::part(&cms, &ticket, &body[..1000]).await);
    }
    let third = device.ticket(3).await;
    let (status, error) = Put::all(&cms, &third, &body).await;
    assert_eq!(status, 429, "{error}");
    let mut second = running.pop().unwrap();
    second.0.send(&body[1000..]).await;
    assert_eq!(second.answer().await.0, 201);
    assert_eq!(Put::all(&cms, &third, &body).await.0, 201, "still good");
    // The device comes anew: what it put before is not the new one's.
    let mut anew = Device::new(&cms, "cam").await;
    let mut first = running.pop().unwrap();
    first.0.send(&body[1000..]).await;
    assert_eq!(first.answer().await.0, 409);
    let ticket = anew.ticket(1).await;
    assert_eq!(Put::all(&cms, &ticket, &body).await.0, 201);
    cms.stop().await;
}

#[tokio::test]
async fn who_guesses_is_told_to_wait_and_the_right_one_is_not() {
    let cms = TestCms::start(|_| {}).await;
    let mut device = Device::new(&cms, "cam").await;
    let ticket = device.ticket(1).await;
    let wrong = with_ticket(&ticket, "guess");
    let mut last = 401;
    let mut tries = 0;
    while last == 401 {
        tries += 1;
        last = Put::all(&cms, &wrong, &picture(10)).await.0;
    }
    assert_eq!((last, tries > 5), (429, true));
    assert_eq!(Put::all(&cms, &ticket, &picture(10)).await.0, 201);
    cms.stop().await;
}
