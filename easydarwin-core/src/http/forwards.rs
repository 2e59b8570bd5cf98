//! The streams that the node pushes on: `/api/v1/forwards`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HttpError;
use super::state::Shared;
use crate::forward::{ForwardSpec, Forwards};
use crate::registry::StreamPath;

/// `GET /api/v1/forwards`
pub(crate) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, HttpError> {
    Ok(Json(json!({ "forwards": forwards(&shared)?.list() })))
}

/// `POST /api/v1/forwards`: a [`ForwardSpec`] as JSON.
pub(crate) async fn add(
    State(shared): State<Arc<Shared>>,
    spec: Result<Json<ForwardSpec>, JsonRejection>,
) -> Result<Response, HttpError> {
    let Json(spec) = spec.map_err(|error| HttpError::Body(error.body_text()))?;
    let added = json!({ "path": spec.path.as_str(), "url": spec.url.to_string() });
    forwards(&shared)?.add(spec).await?;
    Ok((StatusCode::CREATED, Json(added)).into_response())
}

/// `PUT /api/v1/forwards`: the same, for a forward that exists.
pub(crate) async fn update(
    State(shared): State<Arc<Shared>>,
    spec: Result<Json<ForwardSpec>, JsonRejection>,
) -> Result<Response, HttpError> {
    let Json(spec) = spec.map_err(|error| HttpError::Body(error.body_text()))?;
    let changed = json!({ "path": spec.path.as_str(), "url": spec.url.to_string() });
    forwards(&shared)?.update(spec).await?;
    Ok(Json(changed).into_response())
}

/// Query of `DELETE /api/v1/forwards/{path}`.
#[derive(Debug, Deserialize)]
pub(crate) struct RemoveQuery {
    /// Only the one to this URL, as the list shows it.
    url: Option<String>,
}

/// `DELETE /api/v1/forwards/{path}`
pub(crate) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<String>,
    Query(query): Query<RemoveQuery>,
) -> Result<Response, HttpError> {
    let path = StreamPath::parse(&path)?;
    let forwards = forwards(&shared)?;
    let removed = forwards.remove(&path, query.url.as_deref()).await?;
    Ok(Json(json!({ "removed": removed })).into_response())
}

fn forwards(shared: &Shared) -> Result<&Forwards, HttpError> {
    shared.forwards.as_ref().ok_or(HttpError::NoSources)
}
