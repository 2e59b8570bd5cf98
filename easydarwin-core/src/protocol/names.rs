//! The messages by name. Numbers exist in the original's source but never travel.

/// Name of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageType {
    /// Device to CMS: register, and keep-alive.
    RegisterReq,
    /// Its answer.
    RegisterAck,
    /// CMS to device: start pushing.
    PushStreamReq,
    /// Its answer.
    PushStreamAck,
    /// CMS to device: stop pushing.
    StopStreamReq,
    /// Its answer.
    StopStreamAck,
    /// Client to CMS: which devices are there.
    DeviceListReq,
    /// Its answer.
    DeviceListAck,
    /// Client to CMS: one device.
    DeviceInfoReq,
    /// Its answer.
    DeviceInfoAck,
    /// Client to CMS: a play URL.
    GetStreamReq,
    /// Its answer.
    GetStreamAck,
    /// Media node to CMS: nobody watches any more.
    FreeStreamReq,
    /// Its answer.
    FreeStreamAck,
    /// Device to CMS: a snapshot.
    PostSnapReq,
    /// Its answer.
    PostSnapAck,
    /// Client to CMS: move the camera.
    PtzControlReq,
    /// Its answer.
    PtzControlAck,
    /// CMS to device: move.
    ControlPtzReq,
    /// Its answer.
    ControlPtzAck,
    /// Client to CMS: preset positions.
    PresetControlReq,
    /// Its answer.
    PresetControlAck,
    /// CMS to device: preset positions.
    ControlPresetReq,
    /// Its answer.
    ControlPresetAck,
    /// Client to CMS: speak through the device.
    TalkbackControlReq,
    /// Its answer.
    TalkbackControlAck,
    /// CMS to device: sound to play.
    ControlTalkbackReq,
    /// Its answer.
    ControlTalkbackAck,
    /// CMS to device: start anew. Ours, like the three that follow.
    RebootReq,
    /// Its answer.
    RebootAck,
    /// CMS to device: set these values.
    ConfigReq,
    /// Its answer.
    ConfigAck,
    /// CMS to device: take a picture now.
    SnapshotReq,
    /// Its answer; the picture comes apart.
    SnapshotReqAck,
    /// Device to CMS: something happened, or how it is.
    DeviceEventReq,
    /// Its answer.
    DeviceEventAck,
    /// Device to CMS: a picture is there, how may it be put. Ours.
    UploadReq,
    /// Its answer.
    UploadAck,
    /// Answer to `startdevicestream`.
    StartStreamAck,
    /// Answer to `stopdevicestream`.
    StopStreamClientAck,
    /// Answer to `getserverinfo`.
    ServerInfoAck,
    /// Answer to `getbaseconfig`.
    BaseConfigAck,
    /// Answer to `setbaseconfig`.
    SetBaseConfigAck,
    /// Answer to an unknown path: the list of paths.
    UsagesAck,
    /// Answer to `getrtsplivesessions`.
    RtspLiveSessionsAck,
    /// An error that belongs to no known request.
    Exception,
    /// Media node to CMS: I am here. Ours, like all `NS` and `SN` names.
    NodeJoinReq,
    /// Its answer.
    NodeJoinAck,
    /// Media node to CMS: load, and the streams it has.
    NodeReport,
    /// Its answer, with the CMS's time.
    NodeReportAck,
    /// Media node to CMS: something happened to a stream.
    NodeEvent,
    /// Media node to CMS: a viewer is here, get me the stream.
    NodeDemandReq,
    /// Its answer, when the stream is there or failed.
    NodeDemandAck,
    /// CMS to media node: expect this publisher.
    NodeGrantReq,
    /// Its answer.
    NodeGrantAck,
    /// CMS to media node: end this stream.
    NodeCloseReq,
    /// Its answer.
    NodeCloseAck,
    /// CMS to media node: rights are taken back.
    NodeRevokeReq,
    /// Its answer.
    NodeRevokeAck,
}

impl MessageType {
    const ALL: &[Self] = &[
        Self::RegisterReq,
        Self::RegisterAck,
        Self::PushStreamReq,
        Self::PushStreamAck,
        Self::StopStreamReq,
        Self::StopStreamAck,
        Self::DeviceListReq,
        Self::DeviceListAck,
        Self::DeviceInfoReq,
        Self::DeviceInfoAck,
        Self::GetStreamReq,
        Self::GetStreamAck,
        Self::FreeStreamReq,
        Self::FreeStreamAck,
        Self::PostSnapReq,
        Self::PostSnapAck,
        Self::PtzControlReq,
        Self::PtzControlAck,
        Self::ControlPtzReq,
        Self::ControlPtzAck,
        Self::PresetControlReq,
        Self::PresetControlAck,
        Self::ControlPresetReq,
        Self::ControlPresetAck,
        Self::TalkbackControlReq,
        Self::TalkbackControlAck,
        Self::ControlTalkbackReq,
        Self::ControlTalkbackAck,
        Self::RebootReq,
        Self::RebootAck,
        Self::ConfigReq,
        Self::ConfigAck,
        Self::SnapshotReq,
        Self::SnapshotReqAck,
        Self::DeviceEventReq,
        Self::DeviceEventAck,
        Self::UploadReq,
        Self::UploadAck,
        Self::StartStreamAck,
        Self::StopStreamClientAck,
        Self::ServerInfoAck,
        Self::BaseConfigAck,
        Self::SetBaseConfigAck,
        Self::UsagesAck,
        Self::RtspLiveSessionsAck,
        Self::Exception,
        Self::NodeJoinReq,
        Self::NodeJoinAck,
        Self::NodeReport,
        Self::NodeReportAck,
        Self::NodeEvent,
        Self::NodeDemandReq,
        Self::NodeDemandAck,
        Self::NodeGrantReq,
        Self::NodeGrantAck,
        Self::NodeCloseReq,
        Self::NodeCloseAck,
        Self::NodeRevokeReq,
        Self::NodeRevokeAck,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RegisterReq => "MSG_DS_REGISTER_REQ",
            Self::RegisterAck => "MSG_SD_REGISTER_ACK",
            Self::PushStreamReq => "MSG_SD_PUSH_STREAM_REQ",
            Self::PushStreamAck => "MSG_DS_PUSH_STREAM_ACK",
            Self::StopStreamReq => "MSG_SD_STREAM_STOP_REQ",
            Self::StopStreamAck => "MSG_DS_STREAM_STOP_ACK",
            Self::DeviceListReq => "MSG_CS_DEVICE_LIST_REQ",
            Self::DeviceListAck => "MSG_SC_DEVICE_LIST_ACK",
            Self::DeviceInfoReq => "MSG_CS_DEVICE_INFO_REQ",
            Self::DeviceInfoAck => "MSG_SC_DEVICE_INFO_ACK",
            Self::GetStreamReq => "MSG_CS_GET_STREAM_REQ",
            Self::GetStreamAck => "MSG_SC_GET_STREAM_ACK",
            Self::FreeStreamReq => "MSG_CS_FREE_STREAM_REQ",
            Self::FreeStreamAck => "MSG_SC_FREE_STREAM_ACK",
            Self::PostSnapReq => "MSG_DS_POST_SNAP_REQ",
            Self::PostSnapAck => "MSG_SD_POST_SNAP_ACK",
            Self::PtzControlReq => "MSG_CS_PTZ_CONTROL_REQ",
            Self::PtzControlAck => "MSG_SC_PTZ_CONTROL_ACK",
            Self::ControlPtzReq => "MSG_SD_CONTROL_PTZ_REQ",
            Self::ControlPtzAck => "MSG_DS_CONTROL_PTZ_ACK",
            Self::PresetControlReq => "MSG_CS_PRESET_CONTROL_REQ",
            Self::PresetControlAck => "MSG_SC_PRESET_CONTROL_ACK",
            Self::ControlPresetReq => "MSG_SD_CONTROL_PRESET_REQ",
            Self::ControlPresetAck => "MSG_DS_CONTROL_PRESET_ACK",
            Self::TalkbackControlReq => "MSG_CS_TALKBACK_CONTROL_REQ",
            Self::TalkbackControlAck => "MSG_SC_TALKBACK_CONTROL_ACK",
            Self::ControlTalkbackReq => "MSG_SD_CONTROL_TALKBACK_REQ",
            Self::ControlTalkbackAck => "MSG_DS_CONTROL_TALKBACK_ACK",
            Self::RebootReq => "MSG_SD_REBOOT_REQ",
            Self::RebootAck => "MSG_DS_REBOOT_ACK",
            Self::ConfigReq => "MSG_SD_CONFIG_REQ",
            Self::ConfigAck => "MSG_DS_CONFIG_ACK",
            Self::SnapshotReq => "MSG_SD_SNAPSHOT_REQ",
            Self::SnapshotReqAck => "MSG_DS_SNAPSHOT_ACK",
            Self::DeviceEventReq => "MSG_DS_EVENT_REQ",
            Self::DeviceEventAck => "MSG_SD_EVENT_ACK",
            Self::UploadReq => "MSG_DS_UPLOAD_REQ",
            Self::UploadAck => "MSG_SD_UPLOAD_ACK",
            Self::StartStreamAck => "MSG_SC_START_STREAM_ACK",
            Self::StopStreamClientAck => "MSG_SC_STOP_STREAM_ACK",
            Self::ServerInfoAck => "MSG_SC_SERVER_INFO_ACK",
            Self::BaseConfigAck => "MSG_SC_SERVER_BASE_CONFIG_ACK",
            Self::SetBaseConfigAck => "MSG_SC_SERVER_SET_BASE_CONFIG_ACK",
            Self::UsagesAck => "MSG_SC_SERVER_USAGES_ACK",
            Self::RtspLiveSessionsAck => "MSG_SC_RTSP_LIVE_SESSIONS_ACK",
            Self::Exception => "MSG_SC_EXCEPTION",
            Self::NodeJoinReq => "MSG_NS_JOIN_REQ",
            Self::NodeJoinAck => "MSG_SN_JOIN_ACK",
            Self::NodeReport => "MSG_NS_REPORT_REQ",
            Self::NodeReportAck => "MSG_SN_REPORT_ACK",
            Self::NodeEvent => "MSG_NS_EVENT_REQ",
            Self::NodeDemandReq => "MSG_NS_DEMAND_REQ",
            Self::NodeDemandAck => "MSG_SN_DEMAND_ACK",
            Self::NodeGrantReq => "MSG_SN_GRANT_REQ",
            Self::NodeGrantAck => "MSG_NS_GRANT_ACK",
            Self::NodeCloseReq => "MSG_SN_CLOSE_REQ",
            Self::NodeCloseAck => "MSG_NS_CLOSE_ACK",
            Self::NodeRevokeReq => "MSG_SN_REVOKE_REQ",
            Self::NodeRevokeAck => "MSG_NS_REVOKE_ACK",
        }
    }

    /// The message of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}
