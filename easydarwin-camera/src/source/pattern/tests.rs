use super::picture::Plane;
use super::*;
use crate::source::blank_unit;
use crate::source::testing::ffmpeg;

fn visible(plane: &Plane, width: usize, height: usize) -> Vec<u8> {
    (0..height)
        .flat_map(|y| plane.row(y)[..width].to_vec())
        .collect()
}

#[test]
fn decoded_pictures_are_the_drawn_ones() {
    let mut scene = Scene::new("001001000099");
    let mut encoder = Encoder::new(WIDTH, HEIGHT, 25);
    let mut stream = Vec::new();
    let mut drawn = Vec::new();
    let mut sizes = (0, 0);
    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_388_398_700);
    for frame in 0..150 {
        let picture = scene.draw(start + ticks(frame, 25), frame);
        let mut nals = Vec::new();
        let key = frame % 50 == 0;
        encoder.encode(picture, key, &mut nals);
        let bytes: usize = nals.iter().map(Bytes::len).sum();
        if key {
            sizes.0 += bytes;
        } else {
            sizes.1 += bytes;
        }
        for nal in nals {
            stream.extend([0, 0, 0, 1]);
            stream.extend(nal);
        }
        drawn.extend(visible(&scene.picture().luma, WIDTH, HEIGHT));
        drawn.extend(visible(&scene.picture().cb, WIDTH / 2, HEIGHT / 2));
        drawn.extend(visible(&scene.picture().cr, WIDTH / 2, HEIGHT / 2));
    }
    let kbit = (sizes.0 + sizes.1) * 8 / 6 / 1000;
    println!("{kbit} kbit/s, key frames of {} bytes", sizes.0 / 3);
    assert!(kbit < 600);
    let decoded = ffmpeg(
        &[
            "-f", "h264", "-i", "-", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-",
        ],
        stream,
    );
    assert_eq!(decoded.len(), drawn.len());
    assert!(
        decoded == drawn,
        "decoded pictures differ from the drawn ones"
    );
}

#[test]
fn every_picture_survives_not_only_ours() {
    // Random rectangles of random colours reach all prediction modes and all level codes.
    let mut random = proptest::test_runner::TestRng::deterministic_rng(
        proptest::test_runner::RngAlgorithm::ChaCha,
    );
    let mut below = |n: u32| {
        use proptest::prelude::Rng;
        (random.next_u32() % n) as usize
    };
    let mut picture = super::picture::Picture::new(96, 64, [16, 128, 128]);
    let mut encoder = Encoder::new(96, 64, 25);
    let (mut stream, mut drawn) = (Vec::new(), Vec::new());
    for frame in 0..200 {
        for _ in 0..below(6) {
            let grid = if below(3) == 0 { 2 } else { 16 };
            let at = (
                below(96 / grid) * grid as usize,
                below(64 / grid) * grid as usize,
            );
            let size = (below(3) * 16 + grid as usize, below(3) * 16 + grid as usize);
            let colour = [(); 3].map(|()| u8::try_from(below(254)).unwrap() + 1);
            picture.fill(at, size, colour);
        }
        let mut nals = Vec::new();
        encoder.encode(&mut picture, frame % 20 == 0, &mut nals);
        for nal in nals {
            stream.extend([0, 0, 0, 1]);
            stream.extend(nal);
        }
        drawn.extend(visible(&picture.luma, 96, 64));
        drawn.extend(visible(&picture.cb, 48, 32));
        drawn.extend(visible(&picture.cr, 48, 32));
    }
    let decoded = ffmpeg(
        &[
            "-f", "h264", "-i", "-", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-",
        ],
        stream,
    );
    assert!(
        decoded == drawn,
        "decoded pictures differ from the drawn ones"
    );
}

#[tokio::test(start_paused = true)]
async fn units_come_at_the_pace_of_capture() {
    let mut source = PatternSource::new("cam-1");
    let description = std::future::poll_fn(|cx| source.poll_open(cx))
        .await
        .unwrap();
    assert_eq!(description.tracks.len(), 2);
    let mut unit = blank_unit(Instant::now());
    let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
    for i in 0..400 {
        std::future::poll_fn(|cx| source.poll_frame(cx, &mut unit))
            .await
            .unwrap();
        match unit.track {
            0 => pictures.push((unit.pts, unit.key, unit.data.len())),
            _ => sounds.push(unit.pts),
        }
        if i == 20 {
            source.request_key_frame();
        }
    }
    assert_eq!(pictures[0], (0, true, 3));
    assert_eq!(pictures[1].2, 1);
    assert_eq!(
        pictures.iter().filter(|p| p.1).count(),
        2 + pictures.len() / 50
    );
    assert!(pictures.windows(2).all(|p| p[1].0 - p[0].0 == 3_600));
    assert!(sounds.windows(2).all(|s| s[1] - s[0] == 1_024));
    source.close();
    let closed = std::future::poll_fn(|cx| source.poll_frame(cx, &mut unit)).await;
    assert!(matches!(closed, Err(SourceError::Closed)));
}

#[test]
fn snapshot_is_a_jpeg() {
    let jpeg = PatternSource::new("cam-1").snapshot().unwrap();
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.len() < 60_000);
    if let Some(path) = std::env::var_os("CAMERA_SNAPSHOT") {
        std::fs::write(path, &jpeg).unwrap();
    }
    let pixels = ffmpeg(
        &["-f", "mjpeg", "-i", "-", "-f", "rawvideo", "-"],
        jpeg.to_vec(),
    );
    assert_eq!(pixels.len(), WIDTH * HEIGHT * 3 / 2);
}
