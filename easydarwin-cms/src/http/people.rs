//! People log in and out, and set their passwords.

use std::sync::Arc;

use easydarwin_core::registry::{Account, AccountChange, Author, Rights, Role};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::body::read_json;
use super::reply::{self, Reply};
use crate::access::{COOKIE, ClientHeaders};
use crate::accounts::{LoginError, PasswordError, check_name, people_changed};
use crate::api::Caller;
use crate::state::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    name: String,
    password: String,
}

/// `POST login {name, password}`: a token, also as a cookie for the page.
pub(super) async fn login(
    state: &Arc<State>,
    caller: &Caller,
    request: Request<Incoming>,
) -> Reply {
    let login: Login = match read_json(state, request).await {
        Ok(login) => login,
        Err(refused) => return refused,
    };
    logged_in(state, caller, &login.name, &login.password).await
}

async fn logged_in(state: &Arc<State>, caller: &Caller, name: &str, password: &str) -> Reply {
    let now = state.now();
    match state.logins.login(&state.people, name, password, now).await {
        Ok(token) => {
            tracing::info!(name, peer = %caller.peer, "logged in");
            let mut reply = reply::json(StatusCode::OK, &json!({ "token": token, "name": name }));
            let more = if caller.secure { "; Secure" } else { "" };
            set_cookie(&mut reply, &token, more);
            reply
        }
        Err(LoginError::Wrong) => {
            tracing::warn!(peer = %caller.peer, "a login with a wrong name or password was refused");
            let wrong = state.guard.attempts.failed(caller.peer.ip());
            if let Some(after) = wrong.retry_after {
                return super::routes::too_many(after);
            }
            state.wait(wrong.delay).await;
            reply::error(StatusCode::UNAUTHORIZED, LoginError::Wrong)
        }
        Err(LoginError::Password(PasswordError::Busy)) => {
            let mut reply = reply::error(StatusCode::SERVICE_UNAVAILABLE, PasswordError::Busy);
            let headers = reply.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            reply
        }
        Err(error) => {
            tracing::error!(%error, "a login failed");
            reply::error(StatusCode::INTERNAL_SERVER_ERROR, "the login failed")
        }
    }
}

/// No script reads it, and no other site's page sends it.
fn set_cookie(reply: &mut Reply, token: &str, more: &str) {
    let text = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{more}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        reply.headers_mut().insert(header::SET_COOKIE, value);
    }
}

/// `POST logout`.
pub(super) fn logout(state: &State, headers: &ClientHeaders) -> Reply {
    if let Some(token) = headers.login() {
        state.logins.logout(token);
    }
    let mut reply = reply::json(StatusCode::OK, &json!({}));
    set_cookie(&mut reply, "", "; Max-Age=0");
    reply
}

/// `GET me`: who asks, and what he may do.
pub(super) fn me(caller: &Caller) -> Reply {
    let grants = caller.identity.rights().grants().iter();
    let grants: Vec<String> = grants.map(ToString::to_string).collect();
    let me = json!({ "who": &*caller.identity.who, "rights": grants });
    reply::json(StatusCode::OK, &me)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    old: String,
    new: String,
}

/// `POST password {old, new}`: one's own. All other logins of this person end.
pub(super) async fn password(
    state: &Arc<State>,
    caller: &Caller,
    headers: &ClientHeaders,
    request: Request<Incoming>,
) -> Reply {
    let who = caller.identity.who.clone();
    let Some(name) = who.strip_prefix("user:") else {
        return reply::error(StatusCode::FORBIDDEN, "only a person has a password");
    };
    let asked: NewPassword = match read_json(state, request).await {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    let Some(account) = state.people.account(name) else {
        return reply::error(StatusCode::NOT_FOUND, "there is no such person");
    };
    let passwords = state.logins.passwords();
    let old = account.password.as_deref();
    match passwords.check(old, &asked.old).await {
        Ok(true) => {}
        Ok(false) => {
            let wrong = state.guard.attempts.failed(caller.peer.ip());
            state.wait(wrong.delay).await;
            return reply::error(StatusCode::FORBIDDEN, "the old password is wrong");
        }
        Err(error) => return reply::error(StatusCode::SERVICE_UNAVAILABLE, error),
    }
    let hash = match passwords.hash(&asked.new).await {
        Ok(hash) => hash,
        Err(error) => return reply::error(StatusCode::BAD_REQUEST, error),
    };
    let mut changed = account;
    changed.password = Some(hash);
    if let Err(refused) = put(state, changed, &caller.author(state), headers.login()).await {
        return refused;
    }
    reply::json(StatusCode::OK, &json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    secret: String,
    name: String,
    password: String,
}

/// `POST first-run {secret, name, password}`: the first administrator, or one who lost his
/// password and has the machine.
pub(super) async fn first_run(
    state: &Arc<State>,
    caller: &Caller,
    request: Request<Incoming>,
) -> Reply {
    let first: First = match read_json(state, request).await {
        Ok(first) => first,
        Err(refused) => return refused,
    };
    let file = state.first_run.as_ref();
    let Some(file) = file.filter(|file| file.opens(&first.secret)) else {
        let wrong = state.guard.attempts.failed(caller.peer.ip());
        state.wait(wrong.delay).await;
        let reason = "the secret is wrong, used or older than a day; \
                      `easydarwin-cms admin reset` makes a new one";
        return reply::error(StatusCode::FORBIDDEN, reason);
    };
    if let Err(error) = check_name(&first.name) {
        return reply::error(StatusCode::BAD_REQUEST, error);
    }
    let hash = match state.logins.passwords().hash(&first.password).await {
        Ok(hash) => hash,
        Err(error) => return reply::error(StatusCode::BAD_REQUEST, error),
    };
    let author = Author::new("first-run", state.now()).from_address(caller.peer.ip().to_string());
    let rights = Rights::everywhere(Role::Admin);
    let mut account = Account::new(first.name.as_str(), rights, author.at);
    account.password = Some(hash);
    if let Err(refused) = put(state, account, &author, None).await {
        return refused;
    }
    file.remove();
    tracing::info!(name = first.name, peer = %caller.peer, "the first-run secret was used");
    logged_in(state, caller, &first.name, &first.password).await
}

/// Stores an account and waits until it counts.
async fn put(
    state: &Arc<State>,
    account: Account,
    author: &Author,
    keep: Option<&str>,
) -> Result<(), Reply> {
    let change = vec![AccountChange::PutAccount(account)];
    let done = async {
        state.accounts.change_accounts(change, author).await?;
        people_changed(state, keep).await
    };
    match done.await {
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::error!(%error, "an account could not be stored");
            let reason = "the store failed";
            Err(reply::error(StatusCode::SERVICE_UNAVAILABLE, reason))
        }
    }
}
