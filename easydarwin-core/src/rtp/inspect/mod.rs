use bytes::Bytes;

use crate::media::{Codec, H264Params, H265Params, Track, h264, h265};
use crate::rtp::pieces::{NalFormat, Piece, pieces};

/// Longest parameter set that is kept, in bytes; real ones have less than two hundred.
const MAX_PARAMETER_SET: usize = 4096;
/// Most picture parameter sets that are kept of a track.
const MAX_PICTURE_SETS: usize = 64;

/// What one RTP payload holds, as far as a relay must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PacketInfo {
    /// A picture at which decoding can start begins in this packet: its first slice (H.264 IDR or
    /// the picture of a recovery point with count 0, H.265 IRAP). Every packet of audio and of
    /// codecs that are not understood; the first of a JPEG picture.
    pub random_access: bool,
    /// Holds (a part of) a slice of such a picture.
    pub key: bool,
    /// Holds no slice, only parameter sets, SEI, delimiters: a key frame that follows starts here.
    pub parameter_sets_only: bool,
    /// Holds slices, and no other picture needs them (H.264 `nal_ref_idc` 0; H.265 non-reference
    /// picture of the highest sub-layer).
    pub disposable: bool,
    /// H.265 leading picture that cannot be decoded if decoding starts at the IRAP before it.
    pub rasl: bool,
    /// The first slice of a picture begins in this packet.
    pub starts_picture: bool,
    /// Holds (a part of) a slice.
    pub has_vcl: bool,
    /// A parameter set in it differs from what was known: see [`Inspector::codec`].
    pub params_changed: bool,
}

/// Looks into RTP payloads of one track without assembling access units. No allocation unless
/// parameter sets change.
#[derive(Debug, Clone)]
pub struct Inspector {
    codec: Codec,
    /// A recovery point was announced and its picture has not begun.
    recovery_announced: bool,
    /// The picture that is coming in is that of a recovery point.
    recovery_picture: bool,
    /// Highest temporal sub-layer of H.265, when the SPS is known.
    top_layer: Option<u8>,
}

/// Every JPEG picture stands for itself; the fragment at offset 0 begins it (RFC 2435, 3.1.2).
fn jpeg_info(payload: &[u8]) -> PacketInfo {
    let begins = matches!(payload, [_, 0, 0, 0, ..]);
    PacketInfo {
        random_access: begins,
        key: true,
        starts_picture: begins,
        has_vcl: true,
        ..PacketInfo::default()
    }
}

impl Inspector {
    /// For packets of this track.
    pub fn new(track: &Track) -> Self {
        let mut inspector = Self {
            codec: track.codec.clone(),
            recovery_announced: false,
            recovery_picture: false,
            top_layer: None,
        };
        inspector.note_layers();
        inspector
    }

    /// Looks into one payload. Payloads that are broken are no random access and start nothing.
    pub fn inspect(&mut self, payload: &[u8]) -> PacketInfo {
        let format = match self.codec {
            Codec::H264(_) => NalFormat::H264,
            Codec::H265(_) => NalFormat::H265,
            Codec::Jpeg => return jpeg_info(payload),
            _ => {
                return PacketInfo {
                    random_access: true,
                    key: true,
                    starts_picture: true,
                    has_vcl: true,
                    ..PacketInfo::default()
                };
            }
        };
        let mut info = PacketInfo::default();
        let mut slices_disposable = true;
        let mut others = false;
        let mut any = false;
        for piece in pieces(format, payload) {
            let Ok(piece) = piece else {
                return PacketInfo {
                    params_changed: info.params_changed,
                    ..PacketInfo::default()
                };
            };
            any = true;
            if piece.is_vcl() {
                self.inspect_slice(&piece, &mut info);
                slices_disposable &= piece.is_disposable(self.top_layer);
            } else {
                others |= !piece.precedes_picture();
                self.recovery_announced |= piece.is_instant_recovery_point();
                info.params_changed |= self.learn(&piece);
            }
        }
        info.disposable = info.has_vcl && slices_disposable;
        info.parameter_sets_only = any && !info.has_vcl && !others;
        info
    }

    /// The codec with the parameter sets last seen, in band or in the description.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Forgets what spans packets; call after loss or a change of publisher.
    pub fn reset(&mut self) {
        self.recovery_announced = false;
        self.recovery_picture = false;
    }

    fn inspect_slice(&mut self, piece: &Piece<'_>, info: &mut PacketInfo) {
        info.has_vcl = true;
        info.rasl |= piece.is_rasl();
        let starts = piece.starts_picture();
        if starts {
            info.starts_picture = true;
            self.recovery_picture = std::mem::take(&mut self.recovery_announced);
        }
        if piece.is_key() || self.recovery_picture {
            info.key = true;
            info.random_access |= starts;
        }
    }

    /// Keeps a parameter set if it is new; whether it is.
    fn learn(&mut self, piece: &Piece<'_>) -> bool {
        // One in fragments is left to the access units; encoders make them small.
        if !(piece.start && piece.end) || piece.body.len() > MAX_PARAMETER_SET {
            return false;
        }
        let changed = match &mut self.codec {
            Codec::H264(params) => learn_h264(params, piece),
            Codec::H265(params) => learn_h265(params, piece),
            _ => false,
        };
        if changed {
            self.note_layers();
        }
        changed
    }

    fn note_layers(&mut self) {
        if let Codec::H265(params) = &self.codec {
            self.top_layer = params.parse_sps().map(|sps| sps.temporal_layers - 1);
        }
    }
}

fn learn_h264(params: &mut H264Params, piece: &Piece<'_>) -> bool {
    match piece.nal_type() {
        h264::NAL_SPS => replace_sps(&mut params.sps, &mut params.pps, piece),
        h264::NAL_PPS => replace_pps(&mut params.pps, piece, h264::pps_id),
        _ => false,
    }
}

fn learn_h265(params: &mut H265Params, piece: &Piece<'_>) -> bool {
    match piece.nal_type() {
        h265::NAL_VPS => {
            let new = !params.vps.as_ref().is_some_and(|old| same(old, piece));
            if new {
                params.vps = Some(to_bytes(piece));
            }
            new
        }
        h265::NAL_SPS => replace_sps(&mut params.sps, &mut params.pps, piece),
        h265::NAL_PPS => replace_pps(&mut params.pps, piece, h265::pps_id),
        _ => false,
    }
}

/// A new sequence parameter set makes the picture parameter sets of the old one worthless.
fn replace_sps(sps: &mut Option<Bytes>, pps: &mut Vec<Bytes>, piece: &Piece<'_>) -> bool {
    match sps {
        Some(old) if same(old, piece) => false,
        Some(_) => {
            pps.clear();
            *sps = Some(to_bytes(piece));
            true
        }
        None => {
            *sps = Some(to_bytes(piece));
            true
        }
    }
}

fn replace_pps(
    known: &mut Vec<Bytes>,
    piece: &Piece<'_>,
    id: impl Fn(&[u8]) -> Option<u32>,
) -> bool {
    if known.iter().any(|old| same(old, piece)) {
        return false;
    }
    let new = to_bytes(piece);
    let new_id = id(&new);
    if let Some(old) = known.iter_mut().find(|old| id(old) == new_id) {
        *old = new;
        return true;
    }
    if known.len() >= MAX_PICTURE_SETS {
        return false;
    }
    known.push(new);
    true
}

fn same(nal: &Bytes, piece: &Piece<'_>) -> bool {
    nal.split_at_checked(piece.header().len()) == Some((piece.header(), piece.body))
}

fn to_bytes(piece: &Piece<'_>) -> Bytes {
    [piece.header(), piece.body].concat().into()
}

#[cfg(test)]
mod tests;
