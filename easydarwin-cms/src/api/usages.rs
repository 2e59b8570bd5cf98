//! The list of what can be asked, which an unknown path gets.

use easydarwin_core::protocol::{Envelope, ErrorNum, Fields, MessageType};

use super::answer::Answer;

/// Action, parameters, example.
const USAGES: [(&str, &str, &str); 10] = [
    (
        "GetDeviceList",
        "AppType=[EasyCamera/EasyNVR]&TerminalType=[A|B]",
        "getdevicelist",
    ),
    (
        "GetDeviceInfo",
        "device=[Serial]",
        "getdeviceinfo?device=001001000001",
    ),
    (
        "StartDeviceStream",
        "device=[Serial]&channel=[Channel]&reserve=[Reserve]",
        "startdevicestream?device=001001000001&channel=1&reserve=1",
    ),
    (
        "StopDeviceStream",
        "device=[Serial]&channel=[Channel]&reserve=[Reserve]",
        "stopdevicestream?device=001001000001&channel=1&reserve=1",
    ),
    (
        "GetDeviceStream",
        "device=[Serial]&channel=[Channel]&protocol=[RTSP/HLS/WS/FMP4/POSTER]&reserve=[Reserve]",
        "getdevicestream?device=001001000001&channel=1&protocol=RTSP",
    ),
    (
        "LiveDeviceStream",
        "device=[Serial]&channel=[Channel]",
        "livedevicestream?device=001001000001&channel=1",
    ),
    (
        "PTZControl",
        "device=[Serial]&channel=[Channel]&protocol=[ONVIF/SDK]&actiontype=[Continuous/Single]&command=[Stop/Up/Down/Left/Right/Zoomin/Zoomout/Focusin/Focusout/Aperturein/Apertureout]&speed=[Speed]&reserve=[Reserve]",
        "ptzcontrol?device=001001000001&channel=1&protocol=onvif&actiontype=single&command=down&speed=5&reserve=1",
    ),
    (
        "PresetControl",
        "device=[Serial]&channel=[Channel]&protocol=[ONVIF/SDK]&preset=[Preset]&command=[Goto/Set/Remove]",
        "presetcontrol?device=001001000001&channel=1&command=goto&preset=1&protocol=onvif",
    ),
    ("GetBaseConfig", "", "getbaseconfig"),
    ("MSG_CS_TALKBACK_CONTROL_REQ", "", ""),
];

pub(super) fn answer() -> Answer {
    let usages = USAGES.map(|(action, parameter, example)| {
        let (method, url) = match example {
            "" => ("POST", "http://ip:port".to_owned()),
            path => ("GET", format!("http://ip:port/api/v1/{path}")),
        };
        let mut fields = Fields::new();
        fields
            .set("Action", action)
            .set("Method", method)
            .set("Parameter", parameter)
            .set("Example", url)
            .set("Description", "");
        fields
    });
    let mut envelope = Envelope::answer(MessageType::UsagesAck, "1", ErrorNum::OK);
    envelope.body.set_list("API", usages.into());
    Answer::new(envelope)
}
