/*
 * A validator for PostgreSQL 18 that asks somebody else: the test, on a Unix socket. For tests only.
 *
 * It sends the token and a line feed, and reads one line: "yes CLIENT_ID" or "no REASON". Whatever goes wrong on the
 * way is an error of the validator, and a login that is refused.
 */
#include "postgres.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "fmgr.h"
#include "libpq/oauth.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

static char *address = NULL;

void
_PG_init(void)
{
	DefineCustomStringVariable("watchword_test.socket", "Where tokens are judged.", NULL, &address, "",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
}

static int
asked(const char *token)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 20};
	struct iovec said[2] = {{(char *) token, strlen(token)}, {"\n", 1}};
	struct msghdr message = {.msg_iov = said, .msg_iovlen = 2};
	int			fd;

	if (strlcpy(to.sun_path, address, sizeof(to.sun_path)) >= sizeof(to.sun_path))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *) &to, sizeof(to)) < 0 ||
		sendmsg(fd, &message, MSG_NOSIGNAL) != (ssize_t) (said[0].iov_len + 1))
	{
		close(fd);
		return -1;
	}
	return fd;
}

static bool
answered(int fd, char *line, size_t size)
{
	size_t		got = 0;

	while (got < size)
	{
		ssize_t		more = recv(fd, line + got, size - got, 0);

		if (more <= 0)
			return false;
		got += more;
		if (line[got - 1] == '\n')
		{
			line[got - 1] = '\0';
			return true;
		}
	}
	return false;
}

static bool
validate(const ValidatorModuleState *state, const char *token, const char *role, ValidatorModuleResult *result)
{
	char		line[256];
	int			fd = asked(token);
	bool		whole = fd >= 0 && answered(fd, line, sizeof(line));

	if (fd >= 0)
		close(fd);
	if (!whole)
	{
		ereport(LOG, errmsg("nobody judges tokens at \"%s\"", address));
		return false;
	}
	if (strncmp(line, "yes ", 4) == 0)
	{
		result->authn_id = pstrdup(line + 4);
		result->authorized = true;
		return true;
	}
	ereport(LOG, errmsg("the token is refused: %s", line));
	result->authorized = false;
	return true;
}

const OAuthValidatorCallbacks *
_PG_oauth_validator_module_init(void)
{
	static const OAuthValidatorCallbacks callbacks = {
		.magic = PG_OAUTH_VALIDATOR_MAGIC,
		.validate_cb = validate,
	};

	return &callbacks;
}
