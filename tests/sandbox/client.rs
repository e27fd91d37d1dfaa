//! A client that signs in either way and sends in every way, apart from bulkrelease's own.

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bulkrelease::api::signature::{Parameter, canonical_query, v1, v3};
use bulkrelease::sandbox::Sandbox;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use sha1::Sha1;

use crate::sandbox::PATIENCE;

#[derive(Clone)]
pub struct Client {
    pub http: reqwest::Client,
    pub address: SocketAddr,
    pub access_key_id: &'static str,
    pub secret: &'static str,
    pub security_token: Option<&'static str>,
    pub action: &'static str,
    pub version: &'static str,
    pub date: &'static str,
    pub method: Method,
    /// Parameters travel in a form body, not in the query.
    pub form: bool,
    /// In place of a fresh one.
    pub nonce: Option<&'static str>,
    /// A body of no declared kind, signed by its hash.
    pub body: Option<&'static str>,
}

impl Client {
    pub fn of(sandbox: &Sandbox) -> Self {
        Self {
            http: reqwest::Client::builder().timeout(PATIENCE).build().expect("a plain client can be built"),
            address: sandbox.address(),
            access_key_id: "sandbox",
            secret: "sandbox",
            security_token: None,
            action: "ReleaseInstance",
            version: "2017-12-14",
            date: "2026-01-31T00:00:00Z",
            method: Method::POST,
            form: false,
            nonce: None,
            body: None,
        }
    }

    /// With a key whose secret is its id.
    pub fn with_key(&self, id: &'static str) -> Self {
        Self { access_key_id: id, secret: id, ..self.clone() }
    }

    pub async fn release(&self, ids: &[&str]) -> (StatusCode, Value) {
        self.call(&release_of(&ids.join(","))).await
    }

    /// The ids that are there, of those asked for.
    pub async fn existing(&self, ids: &str) -> Vec<String> {
        let query = Self { action: "QueryAvailableInstances", ..self.clone() };
        let (status, body) = query.call(&[("InstanceIDs", ids)]).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let list = body["Data"]["InstanceList"].as_array().expect("a list").iter();
        list.map(|instance| instance["InstanceID"].as_str().expect("an id").to_owned()).collect()
    }

    pub async fn call(&self, parameters: &[(&str, &str)]) -> (StatusCode, Value) {
        read(self.acs3(parameters).send().await.expect("the sandbox answers")).await
    }

    /// A request signed with ACS3-HMAC-SHA256.
    pub fn acs3(&self, parameters: &[(&str, &str)]) -> RequestBuilder {
        let parameters = owned(parameters);
        let (query, body) =
            if self.form { (&[][..], canonical_query(&parameters)) } else { (&parameters[..], String::new()) };
        let body = self.body.map_or(body, str::to_owned);
        let fresh = || uuid::Uuid::new_v4().to_string();
        let (host, nonce) = (self.address.to_string(), self.nonce.map_or_else(fresh, str::to_owned));
        let hash = v3::content_hash(body.as_bytes());
        let mut headers = vec![
            ("host", host.as_str()),
            ("x-acs-action", self.action),
            ("x-acs-version", self.version),
            ("x-acs-date", self.date),
            ("x-acs-signature-nonce", &nonce),
            (v3::CONTENT_HASH, &hash),
        ];
        headers.retain(|(_, value)| !value.is_empty());
        headers.extend(self.security_token.map(|token| ("x-acs-security-token", token)));
        headers.extend(self.form.then_some(("content-type", "application/x-www-form-urlencoded")));
        let request =
            v3::Request { method: self.method.as_str(), parameters: query, headers: &headers, body: body.as_bytes() };
        let authorization = request.authorization(self.access_key_id, self.secret);
        let url = format!("http://{host}/?{}", canonical_query(query));
        let unsigned = self.http.request(self.method.clone(), url).header("authorization", authorization).body(body);
        headers.into_iter().fold(unsigned, |request, (name, value)| request.header(name, value))
    }

    /// A request signed with RPC HMAC-SHA1.
    pub fn rpc(&self, parameters: &[(&str, &str)]) -> RequestBuilder {
        let nonce = uuid::Uuid::new_v4().to_string();
        let mut all = vec![
            ("Action", self.action),
            ("Version", self.version),
            ("AccessKeyId", self.access_key_id),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &nonce),
            ("Timestamp", self.date),
        ];
        all.retain(|(_, value)| !value.is_empty());
        all.extend(self.security_token.map(|token| ("SecurityToken", token)));
        all.extend(parameters);
        let mut parameters = owned(&all);
        let to_sign = v1::string_to_sign(self.method.as_str(), &parameters);
        let key = format!("{}&", self.secret);
        let mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("a key of any length").chain_update(to_sign);
        parameters.push(("Signature".into(), BASE64_STANDARD.encode(mac.finalize().into_bytes()).into()));
        let wire = canonical_query(&parameters);
        if self.form {
            let request = self.http.request(self.method.clone(), format!("http://{}/", self.address));
            return request.header("content-type", "application/x-www-form-urlencoded").body(wire);
        }
        self.http.request(self.method.clone(), format!("http://{}/?{wire}", self.address))
    }

    /// A page of `/_sandbox/`.
    pub async fn admin(&self, method: Method, page: &str, body: &str) -> (StatusCode, Value) {
        let url = format!("http://{}/_sandbox/{page}", self.address);
        let answer = self.http.request(method, url).body(body.to_owned()).send().await.expect("the sandbox answers");
        let status = answer.status();
        let body = answer.bytes().await.expect("an answer has a body");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

fn owned<'a>(parameters: &[(&'a str, &'a str)]) -> Vec<Parameter<'a>> {
    parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

pub fn release_of(ids: &str) -> [(&str, &str); 3] {
    [("ProductCode", "ecs"), ("SubscriptionType", "PayAsYouGo"), ("InstanceIds", ids)]
}

pub async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let body = response.bytes().await.expect("an answer has a body");
    (status, serde_json::from_slice(&body).expect("every answer is JSON"))
}

/// What an answer with an error must hold.
#[track_caller]
pub fn assert_error((status, body): (StatusCode, Value), expected: u16, code: &str) {
    assert_eq!((status.as_u16(), body["Code"].as_str()), (expected, Some(code)), "{body}");
    for field in ["RequestId", "HostId", "Message", "Recommend"] {
        assert!(body[field].is_string(), "{field}: {body}");
    }
    assert!(is_request_id(&body["RequestId"]), "{body}");
}

pub fn is_request_id(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 36 && text == text.to_uppercase() && text.parse::<uuid::Uuid>().is_ok()
}

pub fn milliseconds_to_wait(headers: &HeaderMap) -> Option<u64> {
    headers.get("x-acs-retry-after")?.to_str().ok()?.parse().ok()
}
