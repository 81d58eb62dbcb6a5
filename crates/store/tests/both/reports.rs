//! What others report.

use hayward_store::{Claim, ClaimFilter};
use serde_json::json;

use crate::home::{Home, both};

both! {
    reported_events_are_found_by_what_is_asked_and_the_oldest_are_forgotten
}

fn claim(number: u32) -> Claim {
    Claim {
        at: format!("2026-11-28T00:00:{:02}Z", number % 60),
        event_kind: if number.is_multiple_of(2) { "tool_call" } else { "gate" }.to_owned(),
        session_id: Some(format!("s{}", number % 3)),
        project_name: Some("home".to_owned()),
        correlation_id: Some(number.to_string()),
        user_name: Some(format!("u{}", number % 3)),
        reported_by: "account:proxy".to_owned(),
        content: json!({"number": number}),
    }
}

async fn reported_events_are_found_by_what_is_asked_and_the_oldest_are_forgotten(home: &Home) {
    let store = home.open().await;
    store.put_claims(&(0..12).map(claim).collect::<Vec<_>>()).await.unwrap();
    let all = ClaimFilter { limit: 100, ..ClaimFilter::default() };
    let ask = async |filter: ClaimFilter| {
        let found = store.claims(&filter).await.unwrap();
        found.iter().map(|claim| claim.content["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ask(all.clone()).await, (0..12).rev().collect::<Vec<_>>());
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(ask(ClaimFilter { session_id: some("s1"), ..all.clone() }).await, [10, 7, 4, 1]);
    assert_eq!(
        ask(ClaimFilter { event_kind: some("gate"), limit: 2, offset: 1, ..all.clone() }).await,
        [9, 7]
    );
    assert_eq!(ask(ClaimFilter { correlation_id: some("5"), ..all.clone() }).await, [5]);
    let (from, to) = (some("2026-11-28T00:00:03Z"), some("2026-11-28T00:00:04Z"));
    assert_eq!(ask(ClaimFilter { from, to, ..all.clone() }).await, [4, 3]);
    assert_eq!(ask(ClaimFilter { user_name: some("' OR 1=1 --"), ..all.clone() }).await, [0; 0]);
    let sessions = store.claimed_sessions(&all).await.unwrap();
    assert_eq!(
        sessions.iter().map(|session| session.session_id.as_str()).collect::<Vec<_>>(),
        ["s2", "s1", "s0"]
    );
    assert_eq!((sessions[0].events, sessions[0].user_name.as_deref()), (4, Some("u2")));
    store.close().await;

    let limits = hayward_store::limits::Limits { claims_max: 100, ..home.limits.clone() };
    let config = hayward_store::StoreConfig { limits, ..home.config() };
    let store = hayward_store::Store::open(home.dir.path(), config).await.unwrap();
    store.put_claims(&(12..400).map(claim).collect::<Vec<_>>()).await.unwrap();
    let kept = store.claims(&ClaimFilter { limit: 1_000, ..all }).await.unwrap();
    let mut kept: Vec<_> = kept.iter().map(|claim| claim.content["number"].as_u64().unwrap()).collect();
    kept.sort_unstable();
    assert_eq!(kept, (300..400).collect::<Vec<_>>());
    store.close().await;
}
