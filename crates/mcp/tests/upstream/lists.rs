//! Lists over all of their pages.

use hayward_mcp::limits::{UPSTREAM_LISTED_MAX, UPSTREAM_PAGES_MAX};
use hayward_mcp::request::List;
use hayward_mcp::upstream::{EraChoice, Lines, Upstream, UpstreamError, Wire};
use serde_json::{Value, json};

use super::peer::legacy;
use super::value;

/// What a list comes to whose pages these are; the last one is given again and again.
async fn listed(pages: Vec<Value>) -> Result<Vec<Value>, UpstreamError> {
    let (upstream, _near, mut far) = legacy().await;
    let serving = tokio::spawn(async move {
        let mut at = 0;
        while let Some(asked) = far.hear().await {
            far.answer(&asked["id"], &pages[at.min(pages.len() - 1)]).await;
            at += 1;
        }
        at
    });
    let told = upstream.list(List::Tools).await;
    serving.abort();
    Ok(told?.unwrap().elements.iter().map(value).collect())
}

#[tokio::test]
async fn a_list_is_all_of_its_pages_in_order() {
    let (upstream, _near, mut far) = legacy().await;
    let serving = async {
        let asked = far.hear().await.unwrap();
        assert_eq!((&asked["method"], asked.get("params")), (&json!("tools/list"), None));
        far.answer(&asked["id"], &json!({"tools": [1, 2], "nextCursor": "a b", "ttlMs": 9})).await;
        let asked = far.hear().await.unwrap();
        assert_eq!(asked["params"], json!({"cursor": "a b"}));
        far.answer(&asked["id"], &json!({"tools": [3], "nextCursor": null, "ttlMs": 5})).await;
    };
    let (listed, ()) = tokio::join!(upstream.list(List::Tools), serving);
    let listed = listed.unwrap().unwrap();
    assert_eq!(listed.elements.iter().map(value).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(listed.ttl_ms, Some(5));
}

#[tokio::test]
async fn a_list_without_an_end_is_refused() {
    let same = listed(vec![json!({"tools": [1], "nextCursor": "x"})]).await;
    assert!(matches!(same, Err(UpstreamError::Protocol(_))), "{same:?}");
    let pages =
        (0..=UPSTREAM_PAGES_MAX).map(|n| json!({"tools": [n], "nextCursor": n.to_string()})).collect();
    assert!(matches!(listed(pages).await, Err(UpstreamError::Protocol(_))));
}

#[tokio::test]
async fn a_list_of_more_than_is_read_is_refused_and_not_cut() {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (input, output) = tokio::io::split(near);
    let (lines, _events, driver) = Lines::over(input, output, 1 << 20);
    tokio::spawn(driver);
    let mut far = super::peer::Far::new(far);
    let serving = async {
        far.greet("2025-06-18").await;
        for count in [UPSTREAM_LISTED_MAX, UPSTREAM_LISTED_MAX + 1] {
            let id = far.asked("tools/list").await;
            far.answer(&id, &json!({"tools": vec![0; count]})).await;
        }
    };
    let asking = async {
        let upstream =
            Upstream::connect(Wire::Lines(lines), super::options(EraChoice::Legacy)).await.unwrap();
        let whole = upstream.list(List::Tools).await.unwrap().unwrap();
        assert_eq!(whole.elements.len(), UPSTREAM_LISTED_MAX);
        upstream.list(List::Tools).await
    };
    let (told, ()) = tokio::join!(asking, serving);
    assert!(matches!(told, Err(UpstreamError::Protocol(_))), "{told:?}");
}

#[tokio::test]
async fn what_is_no_list_is_refused() {
    for page in [json!([]), json!({}), json!({"tools": {}}), json!({"tools": null}), json!({"prompts": []})] {
        let told = listed(vec![page.clone()]).await;
        assert!(matches!(told, Err(UpstreamError::Protocol(_))), "{page}: {told:?}");
    }
    assert_eq!(listed(vec![json!({"tools": [], "nextCursor": ""})]).await.unwrap(), Vec::<Value>::new());
}

#[tokio::test]
async fn an_upstream_that_has_no_such_list_says_so() {
    let (upstream, _near, mut far) = legacy().await;
    let (told, ()) = tokio::join!(upstream.list(List::Prompts), async {
        let id = far.asked("prompts/list").await;
        far.refuse(&id, -32601).await;
    });
    assert_eq!(told.unwrap().unwrap_err().code, -32601);
}
