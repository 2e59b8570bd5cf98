//! The streams that the node fetches itself: `/api/v1/sources`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::error::HttpError;
use super::state::Shared;
use crate::pull::{Pulls, SourceSpec};
use crate::registry::StreamPath;

/// `GET /api/v1/sources`
pub(crate) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, HttpError> {
    Ok(Json(json!({ "sources": pulls(&shared)?.list() })))
}

/// `GET /api/v1/sources/{path}`
pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<String>,
) -> Result<Response, HttpError> {
    let path = StreamPath::parse(&path)?;
    let info = pulls(&shared)?.get(&path).ok_or(HttpError::NoSource)?;
    Ok(Json(info).into_response())
}

/// `POST /api/v1/sources`: a [`SourceSpec`] as JSON.
pub(crate) async fn add(
    State(shared): State<Arc<Shared>>,
    spec: Result<Json<SourceSpec>, JsonRejection>,
) -> Result<Response, HttpError> {
    let Json(spec) = spec.map_err(|error| HttpError::Body(error.body_text()))?;
    let pulls = pulls(&shared)?;
    let path = spec.path.clone();
    pulls.add(spec).await?;
    Ok((StatusCode::CREATED, Json(pulls.get(&path))).into_response())
}

/// `PUT /api/v1/sources`: the same, for a path that has a source.
pub(crate) async fn update(
    State(shared): State<Arc<Shared>>,
    spec: Result<Json<SourceSpec>, JsonRejection>,
) -> Result<Response, HttpError> {
    let Json(spec) = spec.map_err(|error| HttpError::Body(error.body_text()))?;
    let pulls = pulls(&shared)?;
    let path = spec.path.clone();
    pulls.update(spec).await?;
    Ok(Json(pulls.get(&path)).into_response())
}

/// `DELETE /api/v1/sources/{path}`
pub(crate) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<String>,
) -> Result<Response, HttpError> {
    let path = StreamPath::parse(&path)?;
    pulls(&shared)?.remove(&path).await?;
    Ok(Json(json!({ "removed": path.as_str() })).into_response())
}

fn pulls(shared: &Shared) -> Result<&Pulls, HttpError> {
    shared.pulls.as_ref().ok_or(HttpError::NoSources)
}
