//! Tests of secrets in every context where one has leaked before, and of the invariants of [`redact`].

use super::{MASK, brief, is_secret, joined, mask, moved, redact, secrets, without};
use proptest::prelude::*;

#[test]
fn what_looks_secret_goes_and_what_does_not_stays() {
    let cases = [
        ("serve --password=hunter2 --port 80", "serve --password=*** --port 80"),
        ("serve --api-key hunter2 -v", "serve --api-key *** -v"),
        ("serve --token-file /run/t --key-id 7", "serve --token-file /run/t --key-id 7"),
        ("DB_PASSWORD='a b' serve", "DB_PASSWORD=*** serve"),
        ("sh -c 'PGPASSWORD=a psql'", "sh -c 'PGPASSWORD=***'"),
        ("psql postgres://u:p@h/db", "psql postgres://***@h/db"),
        ("psql postgres://u:p#/w@h/db", "psql postgres://***@h/db"),
        ("get http://h:80/a@b?x=1", "get http://h:80/a@b?x=1"),
        ("get 'http://h/?token=abc&x=1' now", "get 'http://h/?token=***' now"),
        ("curl -u me:pw -H 'X-Api-Key: abc' h", "curl -u *** -H 'X-Api-Key: ***' h"),
        ("docker run --user 1000:1000 a:b@sha256:c", "docker run --user 1000:1000 a:b@sha256:c"),
        ("Authorization: Bearer abc def", "Authorization: ***"),
        (r#"{"password": "a b", "port": 1}"#, r#"{"password": ***, "port": 1}"#),
        (r#"["serve", "--secret", "a", "b"]"#, r#"["serve", "--secret", ***, "b"]"#),
        ("API_TOKEN = \"abc", "API_TOKEN = ***"),
        ("cannot run `serve --token=abc`: no such file", "cannot run `serve --token=***`: no such file"),
        ("unknown key `x`; known keys: name, env", "unknown key `x`; known keys: name, env"),
        ("cannot read the token: permission denied", "cannot read the token: permission denied"),
        ("PWD=/home/me OLDPWD=/", "PWD=/home/me OLDPWD=/"),
        ("serve --pwd=hunter2 --pwd hunter2 -v", "serve --pwd=*** --pwd *** -v"),
        ("serve --otp 123456 --stop-sig=INT sig=9", "serve --otp *** --stop-sig=INT sig=9"),
        ("get 'https://h/a?sv=1&sig=ab%3D'", "get 'https://h/a?sv=1&sig=***'"),
        ("get https://h/a?X-Amz-Signature=ab1", "get https://h/a?X-Amz-Signature=***"),
        ("keyboard=us monkey=1", "keyboard=us monkey=1"),
    ];
    for (text, told) in cases {
        assert_eq!(redact(text), told, "{text}");
    }
}

#[test]
fn what_a_sentence_tells_of_a_service_is_its_cause_whatever_the_service_is_called() {
    let names = [
        "api-key",
        "auth-api",
        "needs-auth",
        "credentials",
        "password-reset",
        "my-secret",
        "user-token",
        "secret",
        "cookie",
        "authorization",
    ];
    for name in names {
        for text in [
            format!("cannot start `{name}`: exited with code 3 after 0.2 s"),
            format!("cannot restart `{name}`: `other`, which would restart too, could not start again"),
            format!("cannot stop `{name}`: it needs `auth`, which failed: HTTP 401"),
            format!("cannot remove `{name}`: `web` needs it"),
            format!("cannot read the log of `{name}`: it has none"),
            format!("cannot restart `a`: cannot start `{name}`: no such file"),
            format!("its check asks port 80, and so does that of `{name}`: only one of them can own it"),
            format!("cannot look up `{name}`: no such name"),
            format!("cannot use the token in `/run/{name}`: permission denied"),
        ] {
            assert_eq!(redact(&text), text);
        }
        let cause = format!("cannot start `{name}`: `serve --token=abc` ended; DB_PASSWORD=abc");
        assert!(!redact(&cause).contains("abc"), "{cause}");
    }
    assert_eq!(redact("invalid value for `api-key`: hunter2"), "invalid value for `api-key`: ***");
    assert_eq!(redact("cannot parse `api-key`: hunter2"), "cannot parse `api-key`: ***");
}

#[test]
fn what_a_program_takes_for_a_password_goes_and_what_others_call_so_stays() {
    let cases = [
        ("mysql -phunter2 shop", "mysql -p*** shop"),
        ("/usr/bin/mysqldump -u root -p'hunter 2' shop", "/usr/bin/mysqldump -u root -p*** shop"),
        ("mariadb-admin -uroot -phunter2 ping", "mariadb-admin -uroot -p*** ping"),
        (r#"["mysqladmin", "-phunter2", "ping"]"#, r#"["mysqladmin", "-p***", "ping"]"#),
        ("cannot run `mysql -phunter2`: no such file", "cannot run `mysql -p***`: no such file"),
        ("exec:mysqladmin -phunter2 ping", "exec:mysqladmin -p*** ping"),
        ("mysql -p shop -P3306", "mysql -p shop -P3306"),
        ("mysql -e 'select 1' | ssh -p22 host", "mysql -e 'select 1' | ssh -p22 host"),
        ("sshpass -phunter2 ssh host", "sshpass -p*** ssh host"),
        ("sshpass -p hunter2 ssh host", "sshpass -p *** ssh host"),
        (r#"["sshpass", "-p", "hunter2", "ssh"]"#, r#"["sshpass", "-p", ***, "ssh"]"#),
        ("redis-cli -h db -a hunter2 ping", "redis-cli -h db -a *** ping"),
        ("redis-cli --pass hunter2 ping", "redis-cli --pass *** ping"),
        ("mongosh -u me -p hunter2", "mongosh -u me -p ***"),
        ("ldapsearch -x -w hunter2 -b dc=x", "ldapsearch -x -w *** -b dc=x"),
        ("curl -U me:hunter2 http://h", "curl -U *** http://h"),
        ("psql 'postgresql://me:hunter2@db/shop'", "psql 'postgresql://***@db/shop'"),
        ("nc -p8080 -a x -w 3", "nc -p8080 -a x -w 3"),
        ("python -m http.server -p 80", "python -m http.server -p 80"),
    ];
    for (text, told) in cases {
        assert_eq!(redact(text), told, "{text}");
    }
}

#[test]
fn a_secret_goes_by_more_names_than_password() {
    for name in [
        "psw",
        "pin",
        "requirepass",
        "masterauth",
        "passkey",
        "psk",
        "totp",
        "pw",
        "access-code",
        "connection-string",
        "session-id",
        "secret-id",
        "db-pw",
        "dbpass",
        "wifi-psk",
        "hmac-key",
    ] {
        assert_eq!(redact(&format!("serve --{name} hunter2 -v")), format!("serve --{name} *** -v"));
        assert_eq!(redact(&format!("serve --{name}=hunter2 -v")), format!("serve --{name}=*** -v"));
    }
    for name in ["DBPW", "HMAC", "VAULT_SECRET_ID", "ROOTPW", "PHPSESSID", "MYSQL_PWD", "WIFI_PSK", "SIM_PIN"]
    {
        assert_eq!(redact(&format!("{name}=hunter2 serve")), format!("{name}=*** serve"));
    }
    let stay = "--bypass a --compass b --pinned c --spin d --passage e --keyboard f --user-id 7 --session-dir g --hub h";
    assert_eq!(redact(stay), stay);
}

#[test]
fn a_user_goes_with_a_password_alone() {
    let cases = [
        ("get --user=u:hunter2 h", "get --user=*** h"),
        ("get --user=1000:1000 --user=me h", "get --user=1000:1000 --user=me h"),
        ("curl -uu:hunter2 http://h", "curl -u*** http://h"),
        ("curl -ume http://h", "curl -ume http://h"),
        (r#"["curl", "-uu:hunter2", "h"]"#, r#"["curl", "-u***", "h"]"#),
        ("docker login -u me -p hunter2 hub", "docker login -u me -p *** hub"),
        ("docker run -p 80:80 login", "docker run -p 80:80 login"),
        ("ssh login@host -p 22", "ssh login@host -p 22"),
        ("htpasswd -b users me hunter2", "htpasswd -b users me ***"),
        ("htpasswd -nbB me hunter2 > f", "htpasswd -nbB me *** > f"),
        (r#"["htpasswd", "-b", "f", "me", "hunter2"]"#, r#"["htpasswd", "-b", "f", "me", "***"]"#),
        ("zip -P hunter2 a.zip b", "zip -P *** a.zip b"),
        ("7z a -phunter2 a.7z b", "7z a -p*** a.7z b"),
        ("gzip -P x; tar -p x", "gzip -P x; tar -p x"),
        ("openssl rsa -in k -passin pass:hunter2", "openssl rsa -in k -passin ***"),
        ("sqlcmd -S h -U sa -P hunter2 -Q q", "sqlcmd -S h -U sa -P *** -Q q"),
    ];
    for (text, told) in cases {
        assert_eq!(redact(text), told, "{text}");
    }
}

#[test]
fn passwords_in_arguments_and_in_further_options_go_and_their_neighbours_stay() {
    let cases = [
        ("tailscale up --authkey=hunter2 --ssh", "tailscale up --authkey=*** --ssh"),
        ("tailscale up --auth-key hunter2", "tailscale up --auth-key ***"),
        ("ngrok authtoken hunter2", "ngrok authtoken ***"),
        ("ngrok config add-authtoken hunter2 && ls x", "ngrok config add-authtoken *** && ls x"),
        ("vault login hunter2", "vault login ***"),
        ("vault login -no-print hunter2", "vault login -no-print ***"),
        ("vault login -method=userpass username=me", "vault login -method=userpass username=me"),
        ("rabbitmqctl add_user me hunter2 && ls a b", "rabbitmqctl add_user me *** && ls a b"),
        (r#"["rabbitmqctl", "add_user", "me", "hunter2"]"#, r#"["rabbitmqctl", "add_user", "me", ***]"#),
        ("rabbitmqctl list_users me you", "rabbitmqctl list_users me you"),
        (
            "nmcli dev wifi connect home password hunter2 name x",
            "nmcli dev wifi connect home password *** name x",
        ),
        ("nmcli con modify home wifi-sec.psk hunter2", "nmcli con modify home wifi-sec.psk ***"),
        ("wpa_passphrase home hunter2", "wpa_passphrase home ***"),
        ("redis-cli -h db AUTH hunter2", "redis-cli -h db AUTH ***"),
        ("mc alias set s3 http://h KEY hunter2", "mc alias set s3 http://h KEY ***"),
        ("aws configure set aws_secret_access_key hunter2", "aws configure set aws_secret_access_key ***"),
        ("sqlplus me/hunter2@db/shop @a.sql", "sqlplus ***@db/shop @a.sql"),
        ("sqlplus -S 'me/hunter2@//db:1521/shop'", "sqlplus -S '***@//db:1521/shop'"),
        ("sqlplus /nolog @/opt/a.sql b/c", "sqlplus /nolog @/opt/a.sql b/c"),
        ("sqlplus / as sysdba", "sqlplus / as sysdba"),
        ("sqlplus /nolog", "sqlplus /nolog"),
        ("xfreerdp /u:me /p:hunter2 /v:h", "xfreerdp /u:me /p:*** /v:h"),
        ("tar /p:x", "tar /p:x"),
        ("curl -b sid=hunter2 http://h", "curl -b *** http://h"),
        ("curl -b jar.txt http://h", "curl -b jar.txt http://h"),
        ("curl -E me.pem:hunter2 http://h", "curl -E *** http://h"),
        ("curl --cert me.pem:hunter2 http://h", "curl --cert *** http://h"),
        ("curl --cert me.pem http://h", "curl --cert me.pem http://h"),
        ("rar a -hphunter2 a.rar b", "rar a -h*** a.rar b"),
        ("lftp -u me,hunter2 ftp://h", "lftp -u *** ftp://h"),
        ("lftp -u me ftp://h", "lftp -u me ftp://h"),
        ("ncftpget -u me -p hunter2 h", "ncftpget -u me -p *** h"),
        ("cypher-shell -u neo4j -p hunter2", "cypher-shell -u neo4j -p ***"),
        ("mqtt sub -t a -P hunter2", "mqtt sub -t a -P ***"),
        ("snmpwalk -v 2c -c hunter2 h", "snmpwalk -v 2c -c *** h"),
        ("snmpd -f -c /etc/snmp/snmpd.conf", "snmpd -f -c /etc/snmp/snmpd.conf"),
        ("openssl enc -aes256 -k hunter2 -in f", "openssl enc -aes256 -k *** -in f"),
        ("openssl enc -kfile f -in g", "openssl enc -kfile f -in g"),
        ("send SG.abcDEFghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefg ok", "send *** ok"),
        ("hf_AbCdEfGhIjKlMnOpQrStUvWx and hf_abcdefghijklmnop123", "*** and ***"),
    ];
    for (text, told) in cases {
        assert_eq!(redact(text), told, "{text}");
    }
    for text in [
        "from huggingface_hub import hf_hub_download, hf_hub_download_with_retries; SG.txt",
        "dbus-daemon --session --nofork",
        "mc ls alias a b c d e; mc tag set s3 a=b; vault server -config a; login hunter2; set password x y",
        "serve set alias a b c d e f g and nmcli --pretty connection show",
        "docker login; vault kv get x",
    ] {
        assert_eq!(redact(text), text);
    }
}

#[test]
fn what_has_the_form_of_a_secret_goes_without_a_name() {
    let cases = [
        ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.Sfl-KxwRJ_SM here", "got *** here"),
        ("push ghp_16C7e42F292c6912E7710c838347Ae178B4a ok", "push *** ok"),
        ("push gho_16C7e42F292c6912E771 github_pat_11AAAAAAA0abc_def", "push *** ***"),
        ("glpat-abcDEF123456_-xyz, xoxb-123456-abcdef; sk-proj-abc123def456ghi7", "***, ***; ***"),
        (
            "post https://hooks.slack.com/services/T0/B0/xyz now",
            "post https://hooks.slack.com/services/*** now",
        ),
        ("sent Bearer s3cr3t, got 401", "sent Bearer ***, got 401"),
        ("auth=Bearer abc def", "auth=*** def"),
        ("say Basic bWU6aHVudGVyMg== there", "say Basic *** there"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nafter",
            "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----\nafter",
        ),
        ("k=1 -----BEGIN PRIVATE KEY-----\nMIIE", "k=1 -----BEGIN PRIVATE KEY-----***"),
        ("TLS_KEY=-----BEGIN PRIVATE KEY-----\nMIIE", "TLS_KEY=***"),
    ];
    for (text, told) in cases {
        assert_eq!(redact(text), told, "{text}");
    }
    for text in [
        "send one as a bearer token; the bearer of bad news, Bearer authentication",
        "Basic usage, basic features and Basic HTTP, a sk-learn task, task-runner, xox, eyJ",
        "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
        "the file ghp_x and npm_config_registry=http://h",
    ] {
        assert_eq!(redact(text), text);
    }
}

#[test]
fn the_environment_goes_wherever_it_stands() {
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let env =
        [variable("DB_PASSWORD", "hunter2"), variable("API_KEY", "hunter2long"), variable("PORT", "8080")];
    assert_eq!(without("said hunter2long and hunter2 on 8080", &env), "said *** and *** on 8080");
    assert_eq!(without("said --token=abc", &[]), "said --token=***");
}

#[test]
fn what_is_cut_is_whole_characters_and_says_that_it_was_cut() {
    assert_eq!(brief("short"), "short");
    let told = brief(&"é".repeat(300)).into_owned();
    assert_eq!((told.chars().count(), told.ends_with('…')), (101, true));
}

#[test]
fn a_name_looks_secret_by_its_words() {
    for name in
        ["PASSWORD", "dbPassword", "api-key", "accessToken", "AWS_SECRET_ACCESS_KEY", "dsn", "GITHUB_PAT"]
    {
        assert!(is_secret(name), "{name}");
    }
    for name in ["", "PORT", "compass", "monkey", "TOKEN_FILE", "key_id", "PWD", "passage", "authors"] {
        assert!(!is_secret(name), "{name}");
    }
}

#[test]
fn a_mark_stays_under_its_cause() {
    let text = "é --token=abcdefgh x";
    let hidden = secrets(text);
    assert_eq!(mask(text, &hidden), "é --token=*** x");
    assert_eq!(moved(text, &hidden, text.len() - 1), 14);
    assert_eq!(moved(text, &hidden, 0), 0);
    assert_eq!(joined(vec![3..5, 0..2, 4..6]), [0..2, 3..6]);
}

/// Writes a secret in one of several forms.
fn written(secret: &str, way: usize) -> String {
    let quoted = format!("{secret:?}");
    match way {
        0 => format!("--password={secret}"),
        1 => format!("--password {secret}"),
        2 => format!("--password='{secret}'"),
        3 => format!("TOKEN = {quoted}"),
        4 => format!("{{\"api_key\": {quoted}}}"),
        5 => format!("postgres://user:{secret}@host/db"),
        6 => format!("curl -H 'Authorization: Bearer {secret}' host"),
        7 => format!("[\"--secret\", {quoted}]"),
        8 => format!("'CLIENT_SECRET={secret} more'"),
        10 => format!("mysql -p{secret}"),
        11 => format!("[\"sshpass\", \"-p\", {quoted}]"),
        9 => format!("error=\"cannot run \\\"x --token={secret}\\\"\""),
        _ => format!("password: {secret}"),
    }
}

proptest! {
    #[test]
    fn a_secret_never_comes_through(
        secret in "[a-zA-Z0-9][a-zA-Z0-9!#$%^&*+/_.~-]{7,20}",
        way in 0..13_usize,
        before in "[a-z =,.é]{0,12}",
        after in "[a-z =,.é]{0,12}",
    ) {
        // After a number, an unencoded `/` begins a path.
        prop_assume!(way != 5 || !secret.contains('/'));
        let text = format!("{before} {} {after}", written(&secret, way));
        prop_assert!(!redact(&text).contains(&secret), "{text} -> {}", redact(&text));
    }

    #[test]
    fn any_text_can_be_redacted_and_twice_is_as_good_as_once(text in "[-a-z \"'`=:@/\\\\\n,é]{0,40}|.{0,40}|(--?token|password|mysql|sshpass|-[pa]|://|[=:@'\"` é-]){0,12}") {
        let once = redact(&text).into_owned();
        let hidden = secrets(&text);
        prop_assert!(hidden.windows(2).all(|pair| pair[0].end < pair[1].start));
        prop_assert_eq!(once.matches(MASK).count() >= hidden.len(), true);
        let twice = redact(&once).into_owned();
        prop_assert!(twice.len() <= once.len(), "{} -> {} -> {}", text, once, twice);
        for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            prop_assert!(moved(&text, &hidden, at) <= once.chars().count());
        }
    }

    #[test]
    fn words_that_name_no_secret_stay(words in proptest::collection::vec("serve|--port|80|a=b|http://h:80/p|`web`:|x: y|-v", 0..8)) {
        let text = words.join(" ");
        prop_assert_eq!(redact(&text), text.as_str());
    }
}
