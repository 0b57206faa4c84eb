//! Redirects: the location by the rules of `HTTPRequestRedirectFilter`.

use tidegate_ir::{Action, ListenerProtocol, PathEdit, Redirect};

use crate::support::client::{get, send_raw};
use crate::support::parts::{listener_at, prefix, rule};
use crate::support::{Running, Setup};

fn keep() -> Redirect {
    Redirect {
        scheme: None,
        hostname: None,
        path: None,
        port: None,
        status_code: 302,
    }
}

fn scheme(scheme: &str) -> Redirect {
    Redirect {
        scheme: Some(scheme.into()),
        ..keep()
    }
}

fn host(host: &str, redirect: Redirect) -> Redirect {
    Redirect {
        hostname: Some(host.into()),
        ..redirect
    }
}

fn port(port: u16, redirect: Redirect) -> Redirect {
    Redirect {
        port: Some(port),
        ..redirect
    }
}

fn path(path: PathEdit) -> Redirect {
    Redirect {
        path: Some(path),
        ..keep()
    }
}

/// Where a listener of that port leads `http://h:1234/old/x?q=1`.
async fn location(listener_port: u16, redirect: Redirect) -> (u16, String) {
    let listener = listener_at("http", listener_port, "");
    assert_eq!(listener.protocol, ListenerProtocol::Http);
    let rules = vec![rule(
        vec![prefix("/old")],
        Action::Redirect(redirect.into()),
    )];
    let running = Running::serving_with(Setup::default(), listener, rules, vec![]).await;
    let answer = get(running.address("http"), "h:1234", "/old/x?q=1").await;
    let location = answer.headers()["location"].to_str().unwrap();
    (answer.status().as_u16(), location.to_owned())
}

#[tokio::test]
async fn scheme_host_and_port_follow_the_specification() {
    for (listener_port, redirect, expected) in [
        (80, keep(), "http://h/old/x?q=1"),
        (8080, keep(), "http://h:8080/old/x?q=1"),
        (
            80,
            host("new.example", keep()),
            "http://new.example/old/x?q=1",
        ),
        (
            8080,
            host("new.example", keep()),
            "http://new.example:8080/old/x?q=1",
        ),
        // A scheme brings its own port, which is not named.
        (80, scheme("https"), "https://h/old/x?q=1"),
        (8080, scheme("https"), "https://h/old/x?q=1"),
        (8080, scheme("http"), "http://h/old/x?q=1"),
        // A port that is named stays, unless it is the scheme's own.
        (80, port(8083, keep()), "http://h:8083/old/x?q=1"),
        (8080, port(80, keep()), "http://h/old/x?q=1"),
        (80, port(443, keep()), "http://h:443/old/x?q=1"),
        (80, port(443, scheme("https")), "https://h/old/x?q=1"),
        (80, port(8443, scheme("https")), "https://h:8443/old/x?q=1"),
        (80, port(80, scheme("https")), "https://h:80/old/x?q=1"),
        (8080, port(80, scheme("http")), "http://h/old/x?q=1"),
    ] {
        let case = format!("{listener_port} {redirect:?}");
        assert_eq!(
            location(listener_port, redirect).await,
            (302, expected.into()),
            "{case}"
        );
    }
}

#[tokio::test]
async fn paths_are_replaced_whole_or_by_prefix() {
    for (redirect, expected) in [
        (path(PathEdit::Full("/new".into())), "http://h/new?q=1"),
        (path(PathEdit::Prefix("/new".into())), "http://h/new/x?q=1"),
        (path(PathEdit::Prefix("/".into())), "http://h/x?q=1"),
        (path(PathEdit::Prefix("".into())), "http://h/x?q=1"),
    ] {
        let case = format!("{redirect:?}");
        assert_eq!(
            location(80, redirect).await,
            (302, expected.into()),
            "{case}"
        );
    }
}

#[tokio::test]
async fn every_status_of_the_specification_is_given() {
    for status_code in [301, 302, 303, 307, 308] {
        let redirect = Redirect {
            status_code,
            ..scheme("https")
        };
        let answered = location(80, redirect).await;
        assert_eq!(answered, (status_code, "https://h/old/x?q=1".into()));
    }
}

#[tokio::test]
async fn a_redirect_ends_no_connection_and_reads_the_body_away() {
    let rules = vec![rule(
        vec![prefix("/")],
        Action::Redirect(scheme("https").into()),
    )];
    let running = Running::serving(rules, vec![]).await;
    let two = b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello\
                GET /b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let answers = send_raw(running.address("http"), two).await;
    assert_eq!(answers.matches("HTTP/1.1 302").count(), 2, "{answers}");
    assert!(answers.contains("location: https://h/b"), "{answers}");
}
