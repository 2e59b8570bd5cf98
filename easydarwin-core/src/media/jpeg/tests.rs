use proptest::prelude::*;

use super::*;

/// 96 x 64 pixels of a real encoder (ffmpeg 5, `-huffman default`, 4:2:0).
const PICTURE: &[u8] = include_bytes!("../../../../testdata/picture.jpg");

fn replaced(from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = PICTURE.windows(from.len()).position(|w| w == from).unwrap();
    [&PICTURE[..at], to, &PICTURE[at + from.len()..]].concat()
}

#[test]
fn the_parts_of_a_real_picture_and_the_picture_of_its_parts() {
    let parts = Jpeg::parse(PICTURE).unwrap();
    assert_eq!((parts.shape.width, parts.shape.height), (96, 64));
    assert!(parts.shape.half_height);
    let tables = parts.quantisers.map(|table| *table);
    let written = write(&parts.shape, &tables, parts.scan);
    assert_eq!(Jpeg::parse(&written).unwrap(), parts);
}

#[test]
fn what_encoders_put_around_it() {
    let parts = Jpeg::parse(PICTURE).unwrap();
    // Zeros for alignment behind EOI, no EOI at all, fill bytes before a marker.
    let padded = [PICTURE, &[0; 30]].concat();
    assert_eq!(Jpeg::parse(&padded).unwrap(), parts);
    let cut = &PICTURE[..PICTURE.len() - 2];
    assert_eq!(Jpeg::parse(cut).unwrap(), parts);
    let filled = [&[0xff, SOI, 0xff, 0xff], &PICTURE[2..]].concat();
    assert_eq!(Jpeg::parse(&filled).unwrap(), parts);
}

#[test]
fn what_rtp_does_not_carry() {
    let sof = [0xff, SOF0, 0, 17, 8, 0, 64, 0, 96, 3];
    let size = |height: u16, width: u16| {
        let ([h0, h1], [w0, w1]) = (height.to_be_bytes(), width.to_be_bytes());
        replaced(&sof, &[0xff, SOF0, 0, 17, 8, h0, h1, w0, w1, 3])
    };
    assert!(Jpeg::parse(&size(2040, 2040)).is_ok());
    let mut longer = sof;
    longer[1] = 0xc2;
    let progressive = replaced(&sof, &longer);
    let restart = [&[0xff, SOI, 0xff, DRI, 0, 3, 0][..], &PICTURE[2..]].concat();
    let chroma = replaced(&[1, 0x22, 0], &[1, 0x11, 0]);
    let mut huffman = PICTURE.to_vec();
    let dc = PICTURE.windows(2).position(|w| w == [0xff, DHT]).unwrap();
    huffman[dc + 6] ^= 1;
    let scans = [&PICTURE[..PICTURE.len() - 2], &[0xff, SOS]].concat();
    let sixteen = replaced(&[0xff, DQT, 0, 67, 0], &[0xff, DQT, 0, 67, 0x10]);
    for (picture, error) in [
        (vec![], JpegError::NoJpeg),
        (vec![0xff, SOI], JpegError::Missing("scan")),
        (vec![0xff, SOI, 0xff, EOI], JpegError::Missing("scan")),
        (vec![0xff, SOI, 0xff, 0xe0, 0, 1], JpegError::Broken(0xe0)),
        (vec![0xff, SOI, 0xff, 0xe0, 9, 9], JpegError::Broken(0xe0)),
        (size(64, 2048), JpegError::Size(2048, 64)),
        (size(0, 96), JpegError::Size(96, 0)),
        (progressive, JpegError::NotBaseline(0xc2)),
        (restart, JpegError::Broken(DRI)),
        (chroma, JpegError::Sampling),
        (huffman, JpegError::Huffman),
        (scans, JpegError::Scans),
        (sixteen, JpegError::Quantisation),
    ] {
        assert_eq!(Jpeg::parse(&picture), Err(error));
    }
}

/// Of RFC 2435, 4.2: 50 is the tables as they are, 1 the coarsest, 99 the finest.
#[test]
fn tables_of_a_quality() {
    let [luma, chroma] = quantisers(50);
    assert_eq!((luma[0], luma[63], chroma[0], chroma[63]), (16, 99, 17, 99));
    assert_eq!(quantisers(1), [[255; 64]; 2]);
    assert_eq!(quantisers(99)[0][0], 1);
    assert_eq!(quantisers(75)[0][..4], [8, 6, 6, 7]);
}

proptest! {
    #[test]
    fn no_bytes_panic(cut in 0..PICTURE.len(), at in 0..PICTURE.len(), value: u8) {
        let mut bytes = PICTURE.to_vec();
        bytes[at] = value;
        bytes.truncate(cut);
        if let Ok(parts) = Jpeg::parse(&bytes) {
            let tables = parts.quantisers.map(|table| *table);
            let written = write(&parts.shape, &tables, parts.scan);
            prop_assert_eq!(Jpeg::parse(&written).unwrap(), parts);
        }
    }
}
