use crate::media::{Codec, Track};

/// What one RTP payload holds, as far as a relay must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PacketInfo {
    /// A picture at which decoding can start begins in this packet: its first slice (H.264 IDR or
    /// the picture of a recovery point with count 0, H.265 IRAP). Every packet of audio and of
    /// codecs that are not understood.
    pub random_access: bool,
    /// Holds (a part of) a slice of such a picture.
    pub key: bool,
    /// Holds no slice, only parameter sets, SEI, delimiters: a key frame that follows starts here.
    pub parameter_sets_only: bool,
    /// All it holds can be dropped without harm to other pictures (`nal_ref_idc` 0; H.265
    /// sub-layer non-reference).
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
}

impl Inspector {
    /// For packets of this track.
    pub fn new(track: &Track) -> Self {
        Self {
            codec: track.codec.clone(),
        }
    }

    /// Looks into one payload. Payloads that are broken are no random access and start nothing.
    pub fn inspect(&mut self, _payload: &[u8]) -> PacketInfo {
        todo!()
    }

    /// The codec with the parameter sets last seen, in band or in the description.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Forgets what spans packets; call after loss or a change of publisher.
    pub fn reset(&mut self) {
        todo!()
    }
}
