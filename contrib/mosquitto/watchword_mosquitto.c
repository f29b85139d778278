/*
 * Mosquitto 2 asks `watchword broker-auth mosquitto` about each login, by a Unix socket (docs/brokers.md).
 *
 * One question a login: a letter, then MQTT client id and credential, each with its length in two bytes, big-endian.
 *   'p' a token from CONNECT's password; 's' the first message of SASL OAUTHBEARER (MQTT 5 enhanced authentication).
 * One answer until the end of the stream: "no\n"; "ask\n" and a challenge; or "yes UNTIL\n", lines "pub FILTER\n" and
 * "sub FILTER\n", and "end\n". What the token allows is kept here until then, so that messages cost no question.
 * A second connection ('w') is told the client ids whose tokens were revoked, a line each. All that fails is a no.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

enum { BUCKETS = 4096, ANSWER = 65536, PATIENCE = 2 /* seconds for which the broker stands still at most */,
	MOST_READS = 64 /* of the connection that tells revocations, at each tick */ };

struct login {
	struct login *next;
	const struct mosquitto *client; /* NULL: it is away, its session and its will may be not */
	time_t until;
	char *rights;
	char id[];
};

static struct login *logins[BUCKETS];
static struct sockaddr_un service = {.sun_family = AF_UNIX};
static mosquitto_plugin_id_t *plugin;
static time_t resting, ticked;
static int watch = -1;
static char heard[ANSWER];
static size_t heard_length;

/* Whether all that `asked` stands for, a topic or a filter, is within `allowed` (MQTT 5 section 4.7). */
bool watchword_covers(const char *allowed, const char *end, const char *asked)
{
	if (*asked == '$' && allowed < end && (*allowed == '+' || *allowed == '#'))
		return false;
	for (;;) {
		const char *slash = memchr(allowed, '/', (size_t)(end - allowed));
		size_t mine = (size_t)((slash ? slash : end) - allowed), theirs = strcspn(asked, "/");
		if (mine == 1 && *allowed == '#')
			return true;
		if (mine == 1 && *allowed == '+') {
			if (theirs == 1 && *asked == '#')
				return false;
		} else if (mine != theirs || memcmp(allowed, asked, mine) != 0) {
			return false;
		}
		allowed += mine;
		asked += theirs;
		if (allowed == end || *asked == '\0')
			break;
		allowed++;
		asked++;
	}
	if (*asked != '\0')
		return false;
	return allowed == end || (end - allowed == 2 && memcmp(allowed, "/#", 2) == 0); /* a/# is a, too */
}

static struct login **place(const char *id)
{
	unsigned hash = 2166136261u;
	struct login **at;

	for (const char *c = id; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 16777619u;
	for (at = &logins[hash % BUCKETS]; *at && strcmp((*at)->id, id) != 0; at = &(*at)->next)
		;
	return at;
}

static void forget(struct login **at)
{
	struct login *gone = *at;

	*at = gone->next;
	free(gone->rights);
	free(gone);
}

static bool remember(const struct mosquitto *client, const char *id, time_t until, const char *rights)
{
	struct login *made = calloc(1, sizeof *made + strlen(id) + 1), **at = place(id);

	if (!made || !(made->rights = strdup(rights))) {
		free(made);
		return false;
	}
	made->client = client;
	made->until = until;
	strcpy(made->id, id);
	if (*at)
		forget(at);
	made->next = *at;
	*at = made;
	return true;
}

static int opened(char kind, const char *id, const void *credential, size_t length)
{
	struct timeval patience = {.tv_sec = PATIENCE};
	size_t named = strlen(id);
	unsigned char head[3] = {(unsigned char)kind, (unsigned char)(named >> 8), (unsigned char)named};
	unsigned char middle[2] = {(unsigned char)(length >> 8), (unsigned char)length};
	struct iovec said[4] = {{head, 3}, {(void *)id, named}, {middle, 2}, {(void *)credential, length}};
	struct msghdr message = {.msg_iov = said, .msg_iovlen = 4};
	int fd = named > 65535 || length > 65535 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&service, sizeof service) == 0
		&& sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)(5 + named + length))
		return fd;
	close(fd);
	return -1;
}

/* Reads until the peer closes, at most `size` - 1 bytes and for `seconds` in all, however slowly they come.
 * True when the peer closed in time; `answer` is a string in any case. */
bool watchword_read(int fd, char *answer, size_t size, time_t seconds)
{
	struct timespec now;
	struct timeval left = {.tv_usec = 0};
	size_t length = 0;
	ssize_t got = -1;
	time_t until;

	clock_gettime(CLOCK_MONOTONIC, &now);
	until = now.tv_sec + seconds;
	while (length < size - 1 && now.tv_sec <= until) {
		left.tv_sec = until - now.tv_sec + 1; /* 0 would be without an end */
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &left, sizeof left);
		if ((got = recv(fd, answer + length, size - 1 - length, 0)) <= 0)
			break;
		length += (size_t)got;
		clock_gettime(CLOCK_MONOTONIC, &now);
	}
	answer[length] = '\0';
	return got == 0;
}

/* The whole answer as text, or NULL. After a silence nobody is asked for a while: the broker has other clients. */
static char *answered(int fd, char *answer, size_t size)
{
	bool whole = watchword_read(fd, answer, size, PATIENCE);

	close(fd);
	if (whole)
		return answer;
	resting = time(NULL) + PATIENCE;
	mosquitto_log_printf(MOSQ_LOG_ERR, "watchword: no whole answer from %s", service.sun_path);
	return NULL;
}

static int judged(struct mosquitto *client, char kind, const void *credential, size_t length, char **challenge)
{
	static char answer[ANSWER];
	const char *id = mosquitto_client_id(client);
	char *rights, *end;
	int fd;

	if (!id || !credential || time(NULL) < resting)
		return MOSQ_ERR_AUTH;
	if ((fd = opened(kind, id, credential, length)) < 0) {
		mosquitto_log_printf(MOSQ_LOG_ERR, "watchword: nobody answers at %s", service.sun_path);
		return MOSQ_ERR_AUTH;
	}
	if (!answered(fd, answer, sizeof answer))
		return MOSQ_ERR_AUTH;
	if (challenge && strncmp(answer, "ask\n", 4) == 0 && (*challenge = strdup(answer + 4)))
		return MOSQ_ERR_AUTH_CONTINUE;
	rights = strchr(answer, '\n');
	end = strstr(answer, "\nend\n");
	if (strncmp(answer, "yes ", 4) != 0 || !end || end[5] != '\0')
		return MOSQ_ERR_AUTH;
	end[1] = '\0';
	return remember(client, id, (time_t)strtoll(answer + 4, NULL, 10), rights + 1) ? MOSQ_ERR_SUCCESS : MOSQ_ERR_AUTH;
}

static int on_password(int event, void *data, void *user)
{
	struct mosquitto_evt_basic_auth *asked = data;
	(void)event, (void)user;
	return judged(asked->client, 'p', asked->password, asked->password ? strlen(asked->password) : 0, NULL);
}

/* CONNECT with a method, or AUTH on a live connection, which replaces what was known of it. */
static int on_enhanced(int event, void *data, void *user)
{
	struct mosquitto_evt_extended_auth *asked = data;
	char *challenge = NULL;
	int said;
	(void)event, (void)user;

	if (strcmp(asked->auth_method, "OAUTHBEARER") != 0)
		return MOSQ_ERR_NOT_SUPPORTED;
	said = judged(asked->client, 's', asked->data_in, asked->data_in_len, &challenge);
	asked->data_out = challenge; /* the broker frees it */
	asked->data_out_len = challenge ? (uint16_t)strlen(challenge) : 0;
	return said;
}

/* RFC 7628 section 3.2.3: after a challenge there is no yes, whatever the client says. */
static int on_continued(int event, void *data, void *user)
{
	(void)event, (void)data, (void)user;
	return MOSQ_ERR_AUTH;
}

/* Whether one of the rights, lines of "pub FILTER" or "sub FILTER", covers the topic. Other lines give nothing. */
bool watchword_allows(const char *rights, bool publishes, const char *topic)
{
	const char *word = publishes ? "pub " : "sub ", *line, *end;

	for (line = rights; (end = strchr(line, '\n')); line = end + 1)
		if (end - line > 4 && strncmp(line, word, 4) == 0 && watchword_covers(line + 4, end, topic))
			return true;
	return false;
}

static int on_access(int event, void *data, void *user)
{
	struct mosquitto_evt_acl_check *asked = data;
	const char *id = mosquitto_client_id(asked->client), *topic = asked->topic;
	const struct login *login = id ? *place(id) : NULL;
	(void)event, (void)user;

	if (asked->access == MOSQ_ACL_UNSUBSCRIBE)
		return MOSQ_ERR_SUCCESS;
	if (strncmp(topic, "$share/", 7) == 0) /* $share/GROUP/FILTER */
		topic = (topic = strchr(topic + 7, '/')) ? topic + 1 : NULL;
	if (login && topic && watchword_allows(login->rights, asked->access == MOSQ_ACL_WRITE, topic))
		return MOSQ_ERR_SUCCESS;
	return MOSQ_ERR_ACL_DENIED;
}

static int on_disconnect(int event, void *data, void *user)
{
	struct mosquitto_evt_disconnect *told = data;
	const char *id = mosquitto_client_id(told->client);
	struct login *login = id ? *place(id) : NULL;
	(void)event, (void)user;

	if (login && login->client == told->client) /* else a newer connection has taken its place */
		login->client = NULL;
	return MOSQ_ERR_SUCCESS;
}

/* The login's rights outlive its connection by that little: its will is judged by them. */
static void end_of(const char *id)
{
	struct login *login = *place(id);

	if (login && login->client)
		mosquitto_kick_client_by_clientid(id, true);
	if (login)
		forget(place(id));
}

static void hear(void)
{
	char *line;
	ssize_t got = 1;
	int reads;

	if (watch < 0 && (watch = opened('w', "", "", 0)) < 0)
		return;
	for (reads = 0; reads < MOST_READS; reads++) {
		if ((got = recv(watch, heard + heard_length, sizeof heard - 1 - heard_length, MSG_DONTWAIT)) <= 0)
			break;
		heard[heard_length += (size_t)got] = '\0';
		while ((line = strchr(heard, '\n'))) {
			*line = '\0';
			end_of(heard);
			heard_length -= (size_t)(line + 1 - heard);
			memmove(heard, line + 1, heard_length + 1);
		}
	}
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) {
		close(watch);
		watch = -1;
		heard_length = 0;
	}
}

static int on_tick(int event, void *data, void *user)
{
	time_t now = time(NULL);
	(void)event, (void)data, (void)user;

	if (now == ticked)
		return MOSQ_ERR_SUCCESS;
	ticked = now;
	hear();
	for (size_t bucket = 0; bucket < BUCKETS; bucket++)
		for (struct login *login = logins[bucket], *next; login; login = next) {
			next = login->next;
			if (now >= login->until)
				end_of(login->id);
		}
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_version(int count, const int *versions)
{
	while (count-- > 0)
		if (versions[count] == 5)
			return 5;
	return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **user, struct mosquitto_opt *options, int count)
{
	(void)user;
	plugin = id;
	for (; count > 0; count--, options++)
		if (strcmp(options->key, "socket") == 0 && strlen(options->value) < sizeof service.sun_path)
			strcpy(service.sun_path, options->value);
	if (service.sun_path[0] == '\0') {
		mosquitto_log_printf(MOSQ_LOG_ERR, "watchword: say plugin_opt_socket PATH, of at most 107 characters");
		return MOSQ_ERR_INVAL;
	}
	if (mosquitto_callback_register(id, MOSQ_EVT_BASIC_AUTH, on_password, NULL, NULL)
		|| mosquitto_callback_register(id, MOSQ_EVT_EXT_AUTH_START, on_enhanced, NULL, NULL)
		|| mosquitto_callback_register(id, MOSQ_EVT_EXT_AUTH_CONTINUE, on_continued, NULL, NULL)
		|| mosquitto_callback_register(id, MOSQ_EVT_ACL_CHECK, on_access, NULL, NULL)
		|| mosquitto_callback_register(id, MOSQ_EVT_TICK, on_tick, NULL, NULL))
		return MOSQ_ERR_UNKNOWN;
	return mosquitto_callback_register(id, MOSQ_EVT_DISCONNECT, on_disconnect, NULL, NULL);
}

int mosquitto_plugin_cleanup(void *user, struct mosquitto_opt *options, int count)
{
	(void)user, (void)options, (void)count;
	mosquitto_callback_unregister(plugin, MOSQ_EVT_BASIC_AUTH, on_password, NULL);
	mosquitto_callback_unregister(plugin, MOSQ_EVT_EXT_AUTH_START, on_enhanced, NULL);
	mosquitto_callback_unregister(plugin, MOSQ_EVT_EXT_AUTH_CONTINUE, on_continued, NULL);
	mosquitto_callback_unregister(plugin, MOSQ_EVT_ACL_CHECK, on_access, NULL);
	mosquitto_callback_unregister(plugin, MOSQ_EVT_TICK, on_tick, NULL);
	mosquitto_callback_unregister(plugin, MOSQ_EVT_DISCONNECT, on_disconnect, NULL);
	for (size_t bucket = 0; bucket < BUCKETS; bucket++)
		while (logins[bucket])
			forget(&logins[bucket]);
	if (watch >= 0)
		close(watch);
	return MOSQ_ERR_SUCCESS;
}
