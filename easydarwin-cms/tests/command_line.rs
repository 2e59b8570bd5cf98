//! The program's subcommands, as a person runs them.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("easydarwin-cli-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.join(name), text).unwrap();
        self.path(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn program(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_easydarwin-cms"));
    command
        .env("EASYDARWIN_CMS_DATA", data)
        .env("USER", "tester")
        .env_remove("SUDO_USER")
        .stdin(Stdio::null());
    command
}

/// What it printed; it has to succeed.
fn run(data: &Path, args: &[&str]) -> String {
    let output = program(data).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What it said; it has to fail.
fn fails(data: &Path, args: &[&str]) -> String {
    let output = program(data).args(args).output().unwrap();
    assert!(!output.status.success(), "{args:?} succeeded");
    String::from_utf8(output.stderr).unwrap()
}

/// A running CMS; killed when dropped.
struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(data: &Path) -> Self {
        let mut child = program(data)
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line
            .split_once("cms=")
            .and_then(|(_, rest)| rest.split(' ').next())
            .unwrap_or_else(|| panic!("no ready line: {line:?}"))
            .to_owned();
        Self { child, address }
    }

    fn get(&self, path: &str, key: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.address);
        let answer = ureq::get(&url)
            .header("Authorization", &format!("Bearer {key}"))
            .config()
            .http_status_as_error(false)
            .build()
            .call()
            .unwrap();
        let status = answer.status().as_u16();
        (status, answer.into_body().read_to_string().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn devices_are_provisioned_one_by_one_and_in_bulk() {
    let place = Place::new("devices");
    let data = place.data();
    let none = fails(&data, &["device", "list"]);
    assert!(none.contains("there is no store"), "{none}");
    drop(Running::start(&data));

    let key = run(
        &data,
        &[
            "device",
            "add",
            "cam1",
            "--name",
            "Tor",
            "--group",
            "north/gate",
        ],
    );
    assert_eq!(key.len(), 43, "{key}");
    let again = fails(&data, &["device", "add", "cam1"]);
    assert!(again.contains("device rotate"), "{again}");
    let bad = fails(&data, &["device", "add", "../x"]);
    assert!(bad.contains("is no serial"), "{bad}");
    let token = place.write("token", "123456\n");
    run(&data, &["device", "add", "old1", "--token-file", &token]);

    let rows = "serial,name,group,tags,enabled,key,token\n\
                cam2,Hof,north,a;b,true,a key of its own,\n\
                cam3,,south,,false,,\n";
    let file = place.write("devices.csv", rows);
    let keys = place.path("keys.csv");
    let dry = run(&data, &["device", "import", &file, "--dry-run"]);
    assert_eq!(dry, "2 devices, nothing wrong");
    let import = ["device", "import", &file, "--new-keys", &keys];
    assert_eq!(run(&data, &import), "2 added, 0 changed, 0 as they were");
    let made = std::fs::read_to_string(&keys).unwrap();
    assert!(made.starts_with("serial,key\ncam3,"), "{made}");
    assert!(!made.contains("cam2"), "it brought its own key");
    let again = run(&data, &["device", "import", &file]);
    assert_eq!(again, "0 added, 0 changed, 2 as they were");
    let wrong = place.write("wrong.csv", "serial,group\nok,a\nbad serial,b\n");
    let error = fails(&data, &["device", "import", &wrong]);
    assert!(error.contains("row 2"), "{error}");

    let out = place.path("out.json");
    run(&data, &["device", "export", &out]);
    let exported: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(
        exported.as_array().unwrap().len(),
        4,
        "nothing of the wrong file"
    );
    assert_eq!(exported[1]["tags"], serde_json::json!(["a", "b"]));
    // What was exported is what is there, in both forms.
    assert_eq!(
        run(&data, &["device", "import", &out]),
        "0 added, 0 changed, 4 as they were"
    );
    let csv = place.path("out.csv");
    run(&data, &["device", "export", &csv]);
    let again = run(&data, &["device", "import", &csv]);
    assert_eq!(again, "0 added, 0 changed, 4 as they were");

    let list = run(&data, &["device", "list", "--group", "north"]);
    assert!(list.contains("cam1") && list.contains("cam2") && !list.contains("cam3"));
    run(&data, &["group", "move", "north", "nord"]);
    assert_eq!(run(&data, &["group", "list"]), "nord\nnord/gate\nsouth");
    let other = run(&data, &["device", "rotate", "cam1", "--now"]);
    assert_ne!(other, key);
    let secrets = run(&data, &["device", "secrets", "cam1"]);
    assert!(
        secrets.contains("revoked") && secrets.contains("key-2"),
        "{secrets}"
    );
    run(&data, &["device", "disable", "cam1", "cam2"]);
    run(&data, &["device", "remove", "cam3"]);
    let audit = run(&data, &["audit"]);
    assert!(audit.contains("cli:tester") && audit.contains("device.remove"));
    for secret in ["123456", "a key of its own", &key, &other] {
        assert!(!audit.contains(secret), "a secret is in the audit");
    }
    assert!(run(&data, &["check"]).ends_with("the store is whole"));
}

#[test]
fn a_running_cms_takes_up_what_the_command_line_changes() {
    let place = Place::new("running");
    let data = place.data();
    let cms = Running::start(&data);
    let password = place.write("password", "correct horse\n");
    run(
        &data,
        &[
            "user",
            "add",
            "anna",
            "--role",
            "viewer:north",
            "--password-file",
            &password,
        ],
    );
    let wrong = fails(&data, &["user", "add", "otto", "--role", "boss"]);
    assert!(wrong.contains("viewer, operator, admin"), "{wrong}");
    let key = run(
        &data,
        &["key", "add", "script", "--role", "admin", "--owner", "anna"],
    );
    let until = |status: u16| {
        let begin = std::time::Instant::now();
        loop {
            // A wrong key makes the next answer late, so this asks only a few times.
            let (found, body) = cms.get("/api/v2/me", &key);
            if found == status {
                return body;
            }
            assert!(begin.elapsed().as_secs() < 20, "{found} {body}");
        }
    };
    let me = until(200);
    assert!(
        me.contains("key:script") && me.contains("viewer:north"),
        "{me}"
    );
    run(&data, &["user", "disable", "anna"]);
    until(401);
    // No second CMS works on the same data, and nothing is put in its place.
    let second = fails(&data, &["--listen", "127.0.0.1:0"]);
    assert!(second.contains("stop it first"), "{second}");
}

#[test]
fn a_backup_holds_all_that_is_needed_and_a_damaged_one_is_refused() {
    let place = Place::new("backup");
    let data = place.data();
    let cms = Running::start(&data);
    let api_key = std::fs::read_to_string(data.join("api-key")).unwrap();
    let api_key = api_key.trim();
    run(&data, &["device", "add", "before"]);
    let copy = place.path("copy");
    run(&data, &["backup", &copy]);
    run(&data, &["device", "add", "after"]);
    let running = fails(&data, &["restore", &copy]);
    assert!(running.contains("stop it first"), "{running}");
    assert_eq!(cms.get("/api/v2/devices", api_key).0, 200);
    drop(cms);

    let damaged = place.path("damaged");
    std::fs::create_dir(&damaged).unwrap();
    for file in std::fs::read_dir(&copy).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), Path::new(&damaged).join(file.file_name())).unwrap();
    }
    std::fs::write(Path::new(&damaged).join("pepper"), "other\n").unwrap();
    let error = fails(&data, &["restore", &damaged]);
    assert!(error.contains("not as it was"), "{error}");
    assert!(
        run(&data, &["device", "list"]).contains("after"),
        "nothing was moved"
    );

    // On another machine: nothing is there.
    let other = place.0.join("other");
    run(&other, &["restore", &copy]);
    let cms = Running::start(&other);
    let (status, body) = cms.get("/api/v2/devices", api_key);
    assert_eq!(status, 200, "the keys came along");
    assert!(body.contains("before") && !body.contains("after"));
    drop(cms);
    // In the same place: what was there is kept aside.
    let said = run(&data, &["restore", &copy]);
    assert!(said.contains("before-restore"), "{said}");
    assert!(!run(&data, &["device", "list"]).contains("after"));
}

#[test]
fn settings_are_checked_with_precise_errors() {
    let place = Place::new("config");
    let data = place.data();
    for (text, said) in [
        (
            "listen = \"127.0.0.1:1\"\nlistenn = 1\n",
            "unknown field `listenn`",
        ),
        ("policy = \"closed\"\n", "unknown variant `closed`"),
        ("policy = \"open\"\nlisten = \"0.0.0.0:1\"\n", "--i-know"),
        ("log = \"a=b=c\"\n", "log filter"),
        ("devices = \"/nowhere\"\n", "/nowhere"),
    ] {
        let file = place.write("cms.toml", text);
        let error = fails(&data, &["config", "check", "--config", &file]);
        assert!(error.contains(said), "{text}: {error}");
    }
    let file = place.write("cms.toml", "listen = \"127.0.0.1:10000\"\nidle = 90\n");
    let said = run(&data, &["config", "check", "--config", &file]);
    assert!(said.ends_with("the settings are good"), "{said}");
    let help = run(&data, &["device", "import", "--help"]);
    assert!(
        help.contains("serial,name,group,tags,enabled,key,token"),
        "{help}"
    );
}
