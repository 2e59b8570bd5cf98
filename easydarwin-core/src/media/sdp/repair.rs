/// Rewrites a description into what the strict parser accepts.
///
/// Only what the rest of this crate uses is kept: the name, media sections and attributes. All
/// other lines (`o=` with spaces or negative numbers, `b=AS:50.5`, `y=`/`f=` of GB/T 28181,
/// repeated `c=`) are where cameras err most, and nothing depends on them.
pub(super) fn repair(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut out = String::with_capacity(text.len() + 8);
    out.push_str("v=0\r\n");
    let mut named = false;
    for line in text.split(['\r', '\n', '\0']) {
        let Some((key, value)) = line.trim().split_once('=') else {
            continue;
        };
        let (key, value) = (key.trim_end(), value.trim());
        match key {
            "s" if !named && !value.is_empty() => {
                named = true;
                push_line(&mut out, 's', value);
            }
            "a" if !value.is_empty() => push_line(&mut out, 'a', value),
            "m" => push_line(&mut out, 'm', &repair_media(value)),
            _ => {}
        }
    }
    out
}

fn push_line(out: &mut String, key: char, value: &str) {
    out.push(key);
    out.push('=');
    out.push_str(value);
    out.push_str("\r\n");
}

/// `m=video 0 RTP/AVP 96` from lines with missing, doubled or senseless fields. The port means
/// nothing in RTSP.
fn repair_media(value: &str) -> String {
    let mut fields = value.split_ascii_whitespace();
    let media = fields.next().unwrap_or("application");
    let _port = fields.next();
    let protocol = fields.next().unwrap_or("RTP/AVP");
    let formats: Vec<_> = fields.collect();
    let formats = if formats.is_empty() {
        // The payload type is then looked for in the `a=rtpmap` line.
        "-".to_owned()
    } else {
        formats.join(" ")
    };
    format!("{media} 0 {protocol} {formats}")
}
