use bytes::Bytes;
use jpeg_encoder::{ColorType, Encoder};

use super::picture::Picture;

const QUALITY: u8 = 80;

/// The picture as JPEG.
pub(super) fn jpeg(picture: &Picture, width: usize, height: usize) -> Option<Bytes> {
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        let luma = picture.luma.row(y).iter().take(width);
        let chroma = |row: &'_ [u8]| row.iter().flat_map(|&c| [c, c]).collect::<Vec<u8>>();
        let cb = chroma(picture.cb.row(y / 2));
        let cr = chroma(picture.cr.row(y / 2));
        for ((y, cb), cr) in luma.zip(cb).zip(cr) {
            pixels.extend([
                full(*y, 16, 219, 0),
                full(cb, 128, 224, 128),
                full(cr, 128, 224, 128),
            ]);
        }
    }
    let mut out = Vec::new();
    Encoder::new(&mut out, QUALITY)
        .encode(
            &pixels,
            u16::try_from(width).ok()?,
            u16::try_from(height).ok()?,
            ColorType::Ycbcr,
        )
        .ok()?;
    Some(out.into())
}

/// From the limited range of video to the full range of JPEG.
fn full(value: u8, zero: i32, range: i32, centre: i32) -> u8 {
    let scaled = (i32::from(value) - zero) * 255 / range + centre;
    u8::try_from(scaled.clamp(0, 255)).unwrap_or_default()
}
