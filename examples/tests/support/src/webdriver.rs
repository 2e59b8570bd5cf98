//! As much of a WebDriver client as the page's test needs: plain HTTP to chromedriver.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::eventually;
use crate::process::{Process, Workdir, free_port};

/// How long chromedriver may take to listen, and Chromium to open.
const START_WITHIN: Duration = Duration::from_secs(30);

/// A headless Chromium with one page.
#[derive(Debug)]
pub struct Browser {
    agent: ureq::Agent,
    session: String,
    // Dropped last: it takes Chromium with it.
    _driver: Process,
}

impl Browser {
    /// Starts chromedriver and Chromium.
    ///
    /// # Panics
    /// When one of them is missing or does not start.
    pub fn start(workdir: &Workdir, width: u32, height: u32) -> Self {
        crate::require(&["chromedriver", "chromium"]);
        let port = free_port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}"));
        let driver = Process::spawn(workdir, "chromedriver", command);
        let base = format!("http://127.0.0.1:{port}");
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(START_WITHIN))
            .build()
            .into();
        let status = format!("{base}/status");
        eventually("chromedriver listens", START_WITHIN, || {
            agent
                .get(&status)
                .call()
                .map(drop)
                .map_err(|error| error.to_string())
        });
        let options = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": [
                "--headless=new",
                // Root in a container has no other way.
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--autoplay-policy=no-user-gesture-required",
                format!("--window-size={width},{height}"),
                format!("--user-data-dir={}", workdir.file("profile").display()),
            ]},
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let mut browser = Self {
            agent,
            session: base,
            _driver: driver,
        };
        let session = browser.post("/session", &options);
        let id = session["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("no session: {session}"));
        browser.session = format!("{}/session/{id}", browser.session);
        browser
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Runs a function body in the page and gives what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs a function body that calls its last argument with the result: waits for an event in
    /// the page.
    pub fn run_async(&self, script: &str, limit: Duration) -> Value {
        let limit_ms = u64::try_from(limit.as_millis()).expect("a short time");
        self.post("/timeouts", &json!({ "script": limit_ms }));
        self.post("/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Stores a picture of the page.
    pub fn screenshot(&self, file: &Path) {
        let picture = self.request("GET", "/screenshot", None);
        let text = picture.as_str().expect("base64 text");
        std::fs::write(file, decode_base64(text)).expect("the folder is writable");
    }

    /// What the page wrote to its console.
    pub fn console(&self) -> Vec<String> {
        let lines = self.post("/se/log", &json!({ "type": "browser" }));
        lines
            .as_array()
            .into_iter()
            .flatten()
            .map(|line| line["message"].to_string())
            .collect()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.request("POST", path, Some(body))
    }

    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}{path}", self.session);
        let answer = match body {
            Some(body) => self
                .agent
                .post(&url)
                .content_type("application/json")
                .send(body.to_string().as_bytes()),
            None => self.agent.get(&url).call(),
        };
        let mut answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text = answer
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_string()
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let mut value: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}: {text}"));
        let value = value["value"].take();
        assert!(value.get("error").is_none(), "{method} {path}: {value}");
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its session; without one it would outlive chromedriver.
        let _ = self.agent.delete(&self.session).call();
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).expect("eight bits"));
        }
    }
    bytes
}
