//! Bodies of GET_PARAMETER and SET_PARAMETER (RFC 2326, 10.8 and 10.9): `text/parameters`.
//!
//! What there is to know of a session: `position` (always `npt=now-`: live) and `timeout` (seconds
//! after which a silent session ends). Nothing can be set.

use crate::rtsp::parser::cseq;
use crate::rtsp::{Method, Request, RequestUri, Status};

use super::ServerConnection;

/// Longest body that is looked at.
const MAX_BODY: usize = 4096;
/// Most parameters in it.
const MAX_PARAMETERS: usize = 32;

impl ServerConnection {
    /// Without body a keep-alive.
    pub(super) fn parameter(&mut self, request: &Request) -> Result<(), Status> {
        if request.body.iter().all(u8::is_ascii_whitespace) {
            self.answer(request, Status::OK);
            return Ok(());
        }
        let names = names(request)?;
        let unknown: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| self.value(name).is_none())
            .collect();
        if !unknown.is_empty() {
            self.answer_names(request, Status::PARAMETER_NOT_UNDERSTOOD, &unknown);
            return Ok(());
        }
        if request.method == Method::SetParameter {
            self.answer_names(request, Status::PARAMETER_IS_READ_ONLY, &names);
            return Ok(());
        }
        let (_, bound) = self.bound_session()?;
        if request.uri != "*" {
            let uri = RequestUri::parse(&request.uri, &self.authority)
                .map_err(|_| Status::BAD_REQUEST)?;
            bound.resolve(&uri).ok_or(Status::NOT_FOUND)?;
        }
        let lines: Vec<String> = names
            .iter()
            .filter_map(|name| Some(format!("{name}: {}", self.value(name)?)))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        self.answer_names(request, Status::OK, &lines);
        Ok(())
    }

    fn value(&self, name: &str) -> Option<String> {
        if name.eq_ignore_ascii_case("position") {
            Some("npt=now-".to_owned())
        } else if name.eq_ignore_ascii_case("timeout") {
            Some(self.config.session_timeout.as_secs().to_string())
        } else {
            None
        }
    }

    fn answer_names(&mut self, request: &Request, status: Status, lines: &[&str]) {
        let mut response = self.response(status, cseq(&request.headers));
        if let Some(session) = &self.session {
            response.headers.push("Session", session.id.as_str());
        }
        response.headers.push("Content-Type", "text/parameters");
        response.body = format!("{}\r\n", lines.join("\r\n")).into();
        response.write(&mut self.output);
    }
}

/// The parameters that a body names, one in a line; those of SET_PARAMETER have a value.
fn names(request: &Request) -> Result<Vec<&str>, Status> {
    let is_parameters = request.headers.get("Content-Type").is_none_or(|value| {
        let kind = value.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/parameters")
    });
    if !is_parameters {
        return Err(Status::UNSUPPORTED_MEDIA_TYPE);
    }
    if request.body.len() > MAX_BODY {
        return Err(Status::ENTITY_TOO_LARGE);
    }
    let text = std::str::from_utf8(&request.body).map_err(|_| Status::BAD_REQUEST)?;
    let mut names = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let name = match (line.split_once(':'), &request.method) {
            (Some((name, _)), _) => name.trim(),
            (None, Method::GetParameter) => line.trim(),
            (None, _) => return Err(Status::BAD_REQUEST),
        };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Status::BAD_REQUEST);
        }
        if names.len() >= MAX_PARAMETERS {
            return Err(Status::ENTITY_TOO_LARGE);
        }
        names.push(name);
    }
    Ok(names)
}
