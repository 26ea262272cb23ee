"""One mistake for each setting of a mail site, and what `lmtpd check` must say of it.

In a text {t} is the directory of the site, and braces that stay are doubled.
"""

SQL_BARE = '[[recipients]]\nsource = "sql"\nurl = "sqlite://{t}/users.db"\n'
SQL = SQL_BARE + 'query = "SELECT 1 AS uid, 1 AS gid WHERE :user IS NULL"\n'
LDAP_BARE = '[[recipients]]\nsource = "ldap"\nurl = "ldap://127.0.0.1:1"\n'
LDAP = LDAP_BARE + 'base = "dc=org"\nfilter = "(mail={address})"\n'
POSTFIX = '[[recipients]]\nsource = "postfix"\ntable = "hash:/nowhere/table"\npostmap = "/bin/true"\n'
MAP = '[[recipients]]\nsource = "socketmap"\nsocket = "unix:{t}/map"\nmap = "m"\n'
PASSWD = '[[recipients]]\nsource = "passwd"\n'
FILE = '[[recipients]]\nsource = "file"\nfile = "{t}/users"\n'
DOMAIN = '[domains."example.org"]\n'
OWN = '[server]\nrun_as = "recipient"\n'
WHOLE = "must be a whole number from "
REMOTE = {
    "cache_entries": (-1, WHOLE + "0 to 10000000"),
    "cache_s": (86401, WHOLE + "0 to 86400"),
    "cache_unknown_s": (86401, WHOLE + "0 to 86400"),
    "timeout_s": (0, WHOLE + "1 to 60"),
    "connections": (101, WHOLE + "1 to 100"),
}
LIMITS = {
    "message_octets": (0, WHOLE + "1 to "),
    "recipients": (0, WHOLE + "1 to 100000"),
    "idle_s": (86401, WHOLE + "1 to 86400"),
    "bad_commands": (0, WHOLE + "1 to 1000"),
    "min_octets_per_s": (-1, WHOLE + "0 to 1000000"),
    "mailbox_concurrency": (-1, WHOLE + "0 to 100000"),
    "mailbox_slow_s": (601, WHOLE + "0 to 600"),
    "file_system_faults": (-1, WHOLE + "0 to 100000"),
    "file_system_pause_s": (0, WHOLE + "1 to 3600"),
    "free_octets": (-1, WHOLE + "0 to "),
    "free_percent": (100, WHOLE + "0 to 99"),
    "free_inodes": (-1, WHOLE + "0 to "),
    "sender_recipients_per_minute": (-1, WHOLE + "0 to 1000000"),
    "client_recipients_per_minute": (-1, WHOLE + "0 to 1000000"),
    "domain_recipients_per_minute": (-1, WHOLE + "0 to 1000000"),
}

# key, what the file says, what stands in one line of the answer. All of these are errors.
ERRORS: list[tuple[str, str, str]] = [
    *((f"limits.{name}", f"[limits]\n{name} = {value}\n", why) for name, (value, why) in LIMITS.items()),
    *(
        (f"recipients.{kind}.{name}", f"{head}{name} = {value}\n", why)
        for kind, head in {
            "sql": SQL,
            "ldap": LDAP,
            "postfix": POSTFIX,
            "socketmap": MAP,
            "passwd": PASSWD,
        }.items()
        for name, (value, why) in REMOTE.items()
    ),
    *(
        (f"recipients.{kind}.{name}", f"{head}{name} = {value}\n", why)
        for kind, head in {
            "sql": SQL,
            "ldap": LDAP,
            "postfix": POSTFIX,
            "socketmap": MAP,
            "passwd": PASSWD,
            "file": FILE,
        }.items()
        for name, value, why in (
            ("domains", '["example.org", "example.org"]', "names example.org twice"),
            ("path", '"/srv/{nobody}"', "{nobody} is unknown"),
            ("create", "1", "must be true or false"),
        )
    ),
    *(
        (f"recipients.{kind}.source", f'[[recipients]]\nsource = "{kind}s"\n', f'did you mean "{kind}"?')
        for kind in ("sql", "ldap", "postfix", "socketmap", "passwd", "file")
    ),
    ("recipients.maildirs.source", '[[recipients]]\nsource = "maildir"\n', 'did you mean "maildirs"?'),
    ("recipients.sql.url", SQL.replace("users.db", "none.db"), "there is no such file"),
    (
        "recipients.sql.query",
        SQL_BARE + 'query = "SELECT home FROM nobody WHERE :user IS NULL"\n',
        "no such table: nobody",
    ),
    (
        "recipients.sql.query",
        SQL_BARE + "query = \"SELECT 'x' AS hom WHERE :user IS NULL\"\n",
        "'hom' means nothing here",
    ),
    (
        "recipients.sql.columns",
        SQL + 'columns = {{ home = "dir" }}\n',
        "returns no column 'dir', only uid, gid",
    ),
    (
        "recipients.sql.columns",
        SQL + 'columns = {{ uid = "uid", gid = "uid" }}\n',
        'recipients[0].columns = {{"uid": "uid", "gid": "uid"}}: names the column "uid" twice',
    ),
    (
        "recipients.sql.iterate_query",
        SQL + 'iterate_query = "SELECT home FROM users WHERE name = :user"\n',
        "nothing can be filled in: not :user",
    ),
    ("recipients.ldap.url", LDAP.replace("ldap://", "http://"), 'must be "ldap://HOST:PORT"'),
    ("recipients.ldap.starttls", LDAP.replace("ldap:", "ldaps:") + "starttls = true\n", "cannot be combined"),
    ("recipients.ldap.ca_file", LDAP + 'ca_file = "{t}/none"\n', "there is no such file"),
    ("recipients.ldap.bind_dn", LDAP + 'bind_dn = "cn=x"\n', "are given together, or neither"),
    ("recipients.ldap.bind_password_file", LDAP + 'bind_password_file = "{t}/users"\n', "are given together"),
    ("recipients.ldap.base", LDAP.replace('"dc=org"', '""'), "must not be empty"),
    ("recipients.ldap.scope", LDAP + 'scope = "all"\n', 'must be "base", "one" or "sub"'),
    ("recipients.ldap.filter", LDAP.replace("address})", "address}"), "must begin and end with brackets"),
    ("recipients.ldap.iterate_filter", LDAP + 'iterate_filter = "(mail={{address}})"\n', "no braces"),
    ("recipients.ldap.iterate_attribute", LDAP + 'iterate_attribute = ""\n', "must not be empty"),
    ("recipients.ldap.attributes", LDAP + 'attributes = {{ house = "x" }}\n', '"house" is unknown'),
    (
        "recipients.postfix.table",
        POSTFIX.replace("/bin/true", "{t}/postmap"),
        "recipients[0] (postfix hash:/nowhere/table): open database /nowhere/table.db",
    ),
    ("recipients.postfix.table", POSTFIX.replace("hash:", ""), "must be a table with its type"),
    ("recipients.postfix.result", POSTFIX + 'result = "users"\n', 'must be "user", "maildir" or "alias"'),
    ("recipients.postfix.postmap", POSTFIX.replace("/bin/true", "{t}/users"), "is not a program"),
    ("recipients.postfix.config_directory", POSTFIX + 'config_directory = "{t}/no"\n', "no such directory"),
    ("recipients.socketmap.socket", MAP.replace("{t}/map", "{t}/no/map"), "there is no directory {t}/no"),
    (
        "recipients.socketmap.socket",
        MAP.replace("unix:{t}", "{t}"),
        'must be "unix:PATH" or "inet:HOST:PORT"',
    ),
    (
        "recipients.socketmap.socket",
        MAP + '[[socketmap]]\nunix = "{t}/map"\n',
        "is a socket of this server, which would ask itself",
    ),
    ("recipients.socketmap.map", MAP.replace('"m"', '""'), "must not be empty"),
    ("recipients.socketmap.result", MAP + 'result = "uid"\n', 'must be "user", "maildir" or "alias"'),
    ("recipients.passwd.first_uid", PASSWD + "first_uid = 0\n", WHOLE + "1 to"),
    ("recipients.passwd.first_uid", OWN + PASSWD + "first_uid = 500\n", "must be 1000 (owners.first_uid)"),
    ("recipients.file.file", FILE.replace("users", "none"), "there is no such file"),
    ("recipients.file.file", FILE + FILE + 'domains = ["example.org"]\n', "is read by a source above"),
    ("recipients.file.format", FILE + 'format = "toml"\n', "{t}/users is faulty: not valid TOML"),
    ("recipients.file.domains", FILE + 'domains = "example.org"\n', "must be a list"),
    (
        "recipients.file.domains",
        FILE + 'domains = ["example.net"]\n[domains."example.net"]\nsame_as = "example.org"\n',
        "example.net is never asked for, being the same as example.org: write example.org",
    ),
    ("domains.same_as", DOMAIN + 'same_as = "example.org"\n', "not itself the same as another"),
    (
        "domains.catch_all",
        DOMAIN + 'catch_all = "nobody@example.org"\n',
        'domains."example.org".catch_all: leads to nobody: *@example.org stands for nobody@example.org',
    ),
    ("domains.quota", DOMAIN + 'quota = "much"\n', "must be a size"),
    ("domains.path", DOMAIN + 'path = "/srv/mail"\n', "must contain {user}"),
    ("domains.create", DOMAIN + 'create = "yes"\n', "must be true or false"),
    ("domains.create", OWN + DOMAIN + "create = true\n", "nobody knows whose a missing Maildir would be"),
    ("domains.layout", DOMAIN + 'layout = "mbox"\n', 'must be "maildir++" or "fs"'),
    ("domains.detail", DOMAIN + 'detail = "make"\n', 'must be "inbox", "existing" or "create"'),
    ("domains.folder_names", DOMAIN + 'folder_names = "utf8"\n', 'did you mean "utf-8"?'),
    ("domains.folder_levels", DOMAIN + "folder_levels = 21\n", WHOLE + "1 to 20"),
    ("domains.subscribe", DOMAIN + 'subscribe = "yes"\n', "must be true or false"),
    ("mailboxes.path", '[mailboxes]\npath = "{t}/mail/{{usr}}"\n', "{usr} is unknown"),
    ("mailboxes.create", OWN + "[mailboxes]\ncreate = true\n", "nobody knows whose a missing Maildir"),
    ("mailboxes.layout", '[mailboxes]\nlayout = "maildir"\n', 'must be "maildir++" or "fs"'),
    ("mailboxes.detail", '[mailboxes]\ndetail = "make"\n', 'must be "inbox", "existing" or "create"'),
    ("mailboxes.folder_names", '[mailboxes]\nfolder_names = "utf7"\n', 'did you mean "utf-7"?'),
    ("mailboxes.folder_levels", "[mailboxes]\nfolder_levels = 0\n", WHOLE + "1 to 20"),
    ("mailboxes.subscribe", '[mailboxes]\nsubscribe = "all"\n', "must be true or false"),
    ("mailboxes.delimiters", '[mailboxes]\ndelimiters = "a"\n', "must not contain letters or digits"),
    ("mailboxes.fold_case", '[mailboxes]\nfold_case = "no"\n', "must be true or false"),
    (
        "mailboxes.postmaster",
        '[mailboxes]\npostmaster = "nobody@example.org"\n',
        "mailboxes.postmaster: leads to nobody: ",
    ),
    ("aliases", '[aliases]\n"a@example.org" = []\n', "must name at least one address"),
    (
        "aliases",
        '[aliases]\n"a@example.org" = ["b@example.org"]\n"b@example.org" = "a@example.org"\n',
        (
            ':2: aliases."a@example.org": leads to nobody: b@example.org stands for a@example.org:'
            " the aliases go round in a circle, and no Maildir at {t}/mail/example.org/a"
        ),
    ),
    (
        "aliases",
        '[aliases]\n"a@example.org" = ["alice@example.org", "nobody@example.org"]\n',
        ':2: aliases."a@example.org": leads to nobody: a@example.org stands for nobody@example.org: no ',
    ),
    (
        "aliases",
        '[aliases]\n"A@example.org" = "alice@example.org"\n"a@example.org" = "alice@example.org"\n',
        'is the same address as "A@example.org"',
    ),
    (
        "aliases",
        '[domains."example.net"]\nsame_as = "example.org"\n[aliases]\n"a@example.net" = "b@example.org"\n',
        "is never looked for: example.net is the same as example.org, so write a@example.org",
    ),
    ("owners.first_uid", "[owners]\nfirst_uid = 0\n", WHOLE + "1 to"),
    ("owners.groups", '[owners]\ngroups = ["no-such-group"]\n', "there is no such group"),
    ("owners.groups", OWN + '[owners]\ngroups = ["root"]\n', "must not contain root's group"),
    ("owners.groups", OWN + '[owners]\ngroups = ["mail", "mail"]\n', "names mail twice"),
    ("server.run_as", '[server]\nrun_as = "recipients"\n', "there is no such user on this machine"),
    ("quota.default", '[quota]\ndefault = "2X"\n', "must be a size"),
    ("quota.full", '[quota]\nfull = "defer 3"\n', 'must be "defer" (452), "reject" (552), or "defer 3d"'),
    ("quota.folders", '[quota]\nfolders = ["Trash"]\n', "must be a folder and its rule"),
    ("quota.folders", '[quota]\nfolders = ["a/.b:ignore"]\n', "no folder can have this name: a dot"),
    ("quota.folders", '[quota]\nfolders = ["T:ignore", "T:+1G"]\n', "has a rule already"),
    ("quota.deleted", '[quota]\ndeleted = "ignored"\n', 'must be "counted" or "free"'),
    ("quota.warnings", '[quota]\nwarnings = ["80%", "80%"]\n', 'quota.warnings[1] = "80%": is listed twice'),
    ("quota.warnings", "[quota]\nwarnings = [80]\n", 'from "1%" to "100%", in quotes'),
    ("quota.warning_command", '[quota]\nwarnings = ["1%"]\nwarning_command = "{t}"\n', "must be a program"),
    ("quota.warning_command", '[quota]\nwarning_command = "/bin/true"\n', "is never run"),
    ("quota.watch", "[quota]\nwatch = 1001\n", WHOLE + "0 to 1000"),
    ("quota.sample_s", "[quota]\nsample_s = -1\n", WHOLE + "0 to"),
    ("delivery.single_instance", '[delivery]\nsingle_instance = "reflink"\n', '"off", "link" or "share"'),
    ("delivery.loops", '[delivery]\nloops = "reject"\n', 'must be "refuse" or "deliver"'),
    ("submission.smtp", '[submission]\nsmtp = "127.0.0.1"\n', 'must be HOST:PORT, such as "127.0.0.1:25"'),
    (
        "submission.sendmail",
        '[submission]\nsendmail = "sendmail"\n',
        "must be the absolute path of a program",
    ),
    *(
        (f"{table}.{key}", f"[[{table}]]\n{text}\n", why)
        for table in ("policy", "socketmap")
        for key, text, why in (
            (
                "unix",
                'unix = "{t}/no/a"',
                '{t}/no/a": there is no directory {t}/no: make it, or name one that',
            ),
            ("unix", 'unix = "{t}/users"', "is there already, and is no socket"),
            ("unix", 'unix = "{t}/a"\n[[listen]]\nunix = "{t}/a"', "unix:{t}/a is listed twice"),
            ("unix", 'unix = "{t}/a"\n[[listen]]\nunix = "{t}/link/a"', "is the same socket as unix:{t}/"),
            ("unix", 'unix = "{t}/a"\n[metrics]\nunix = "{t}/a"', "is the same socket as unix:{t}/a"),
            ("owner", 'unix = "{t}/a"\nowner = "no-such-user"', "there is no such user"),
            ("group", 'unix = "{t}/a"\ngroup = "no-such-group"', "there is no such group"),
            ("mode", 'unix = "{t}/a"\nmode = 660', "must be three octal digits in quotes"),
            ("tcp", 'tcp = "127.0.0.1:25"', "must not be served on port 25"),
            ("tcp", 'tcp = "127.0.0.1:99"\n[[listen]]\ntcp = "0.0.0.0:99"', "is the same socket as tcp:"),
            ("tcp", 'tcp = "127.0.0.1:99"\n[[listen]]\ntcp = "localhost:99"', "is the same socket as tcp:"),
        )
    ),
]

# What works, but not as it was meant, or what may pass: said, and the exit code is 0.
WARNINGS: list[tuple[str, str, str]] = [
    (
        "policy.unix",
        '[[policy]]\nunix = "a.sock"\n',
        'policy[0].unix: "a.sock" counts from where the command',
    ),
    ("policy.unix", '[[policy]]\nunix = "/run/lmtpd-none/a"\n', "there is no directory /run/lmtpd-none now"),
    ("recipients.socketmap.socket", MAP, "cannot be asked now: "),
    (
        "recipients.socketmap.socket",
        MAP.replace("{t}/map", "map"),
        '"unix:map" counts from where the command',
    ),
    ("recipients.ldap.url", LDAP, "cannot be asked now: "),
    ("recipients.ldap.ca_file", LDAP + 'ca_file = "{t}/users"\n', "no TLS is spoken"),
    ("recipients.sql.cache_s", SQL + "cache_entries = 0\ncache_s = 7\n", "cache_entries is 0"),
    ("recipients.file.path", FILE + 'path = "{t}/none/{{user}}"\n', "the directory {t}/none does not exist"),
    ("domains.path", DOMAIN + 'path = "{t}/none/{{user}}"\n', "the directory {t}/none does not exist"),
    ("domains.subscribe", DOMAIN + "subscribe = true\n", "nothing makes folders"),
    ("mailboxes.subscribe", "[mailboxes]\nsubscribe = true\n", "nothing makes folders"),
    ("mailboxes.detail", '[mailboxes]\ndetail = "create"\ndelimiters = ""\n', "no address has a detail"),
    ("aliases", MAP + '[aliases]\n"a@example.org" = "b@example.org"\n', "cannot be followed now: "),
    ("quota.warnings", '[quota]\ndefault = "1G"\nwarnings = ["95%", "80%"]\n', 'write ["80%", "95%"]'),
    ("quota.full", '[quota]\nfull = "reject"\n', "quota.full: means nothing: no mailbox has a limit"),
    (
        "delivery.single_instance",
        '[delivery]\nsingle_instance = "share"\n[domains."x.example"]\npath = "/dev/shm/{{user}}"\n',
        "/dev/shm is on tmpfs, which cannot share blocks",
    ),
    ("limits.recipients", '[delivery]\nsingle_instance = "link"\n[limits]\nrecipients = 1\n', "no copies"),
    ("limits.mailbox_slow_s", "[limits]\nmailbox_slow_s = 300\n", "is never reached: delivery.deadline_s"),
    ("limits.mailbox_slow_s", "[limits]\nmailbox_slow_s = 3\nmailbox_concurrency = 0\n", "concurrency is 0"),
    (
        "limits.file_system_pause_s",
        "[limits]\nfile_system_pause_s = 3\nfile_system_faults = 0\n",
        "faults is 0",
    ),
    (
        "limits.free_octets",
        "[limits]\nfree_octets = 1152921504606846976\n",
        "mail is deferred now: below {t}",
    ),
    ("owners.first_uid", "[owners]\nfirst_uid = 2000\n", 'means nothing unless server.run_as is "recipient"'),
]
