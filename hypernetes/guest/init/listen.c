#define _GNU_SOURCE
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <fcntl.h>

#include "loop.h"
#include "netlink.h"
#include "network.h"
#include "proto.h"
#include "stream.h"

#define DNS_UDP_MAX 4096
#define QUESTIONS 64   /* unanswered at a time; the oldest is forgotten, its client asks again */
#define CONNECTIONS 16 /* of DNS over TCP */

struct tcp_client {
	struct source source;
	uint8_t bytes[2 + 4096];
	size_t have;
	bool used, waiting;
};

static struct question {
	uint32_t id;
	struct sockaddr_in from;
	struct tcp_client *client;
} questions[QUESTIONS];

static struct source dns_udp, dns_tcp, api;
static struct tcp_client clients[CONNECTIONS];
static uint32_t next_id = GUEST_STREAM;

struct addresses {
	struct in_addr dns, kubernetes;
};

static uint32_t new_id(void)
{
	next_id = (next_id + 1) | GUEST_STREAM;
	return next_id;
}

static uint32_t ask(const struct sockaddr_in *from, struct tcp_client *client, const uint8_t *bytes, size_t length)
{
	uint32_t id = new_id();
	struct question *q = &questions[id % QUESTIONS];

	q->id = id;
	q->client = client;
	if (from)
		q->from = *from;
	link_send(M_QUESTION, from ? QUESTION_UDP : 0, id, bytes, length);
	return id;
}

static void on_udp(struct source *s, uint32_t events)
{
	uint8_t bytes[DNS_UDP_MAX];
	struct sockaddr_in from;
	socklen_t size = sizeof from;
	ssize_t n = recvfrom(s->fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &size);

	(void)events;
	if (n > 0)
		ask(&from, NULL, bytes, n);
}

static void drop_client(struct tcp_client *c)
{
	for (int i = 0; i < QUESTIONS; i++)
		if (questions[i].client == c)
			questions[i].id = 0;
	loop_close(&c->source);
	c->used = false;
}

static void next_question(struct tcp_client *c)
{
	size_t length = c->bytes[0] << 8 | c->bytes[1];

	if (c->waiting || c->have < 2)
		return;
	if (length > sizeof c->bytes - 2) {
		drop_client(c);
		return;
	}
	if (c->have < 2 + length)
		return;
	ask(NULL, c, c->bytes + 2, length);
	c->waiting = true;
	c->have -= 2 + length;
	memmove(c->bytes, c->bytes + 2 + length, c->have);
	loop_want(&c->source, 0);
}

static void on_client(struct source *s, uint32_t events)
{
	struct tcp_client *c = s->owner;
	ssize_t n = 0;

	if (!c->waiting)
		n = read(s->fd, c->bytes + c->have, sizeof c->bytes - c->have);
	if (n <= 0 || (events & EPOLLERR)) {
		drop_client(c);
		return;
	}
	c->have += n;
	next_question(c);
}

static void on_dns_connection(struct source *s, uint32_t events)
{
	int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	for (int i = 0; fd >= 0 && i < CONNECTIONS; i++)
		if (!clients[i].used) {
			struct tcp_client *c = &clients[i];

			memset(c, 0, sizeof *c);
			c->used = true;
			loop_add(&c->source, fd, EPOLLIN, on_client, c);
			return;
		}
	if (fd >= 0)
		close(fd);
}

void listen_answer(const struct frame *f)
{
	struct question *q = &questions[f->id % QUESTIONS];

	if (!f->id || q->id != f->id)
		return; /* forgotten meanwhile */
	q->id = 0;
	if (!q->client) {
		sendto(dns_udp.fd, f->payload, f->length, 0, (struct sockaddr *)&q->from, sizeof q->from);
		return;
	}
	struct tcp_client *c = q->client;
	uint8_t *answer = allocate(2 + f->length);
	answer[0] = f->length >> 8;
	answer[1] = f->length;
	memcpy(answer + 2, f->payload, f->length);
	/* A send buffer holds more than one answer; a client that doesn't read its answers is dropped. */
	bool sent = send(c->source.fd, answer, 2 + f->length, MSG_DONTWAIT) == (ssize_t)(2 + f->length);
	free(answer);
	c->waiting = false;
	if (!sent) {
		drop_client(c);
		return;
	}
	loop_want(&c->source, EPOLLIN);
	next_question(c);
}

static void join(struct stream *s, int fd)
{
	int other = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	s->socket = true;
	stream_read_from(s, 1, fd);
	stream_write_to(s, other);
}

static void on_api_connection(struct source *s, uint32_t events)
{
	int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct stream *stream;

	(void)events;
	if (fd < 0)
		return;
	stream = link_synced() ? stream_new(new_id(), 0) : NULL;
	if (!stream) {
		close(fd);
		return;
	}
	join(stream, fd);
	link_send(M_CONNECT, 0, stream->id, NULL, 0);
}

static int listener(struct in_addr address, int port, int type)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address};
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) || (type == SOCK_STREAM && listen(fd, 64))) {
		int error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

static int start(const void *argument)
{
	const struct addresses *a = argument;
	int error, fd;

	if ((error = net_address("lo", a->dns, 32)) || (error = net_address("lo", a->kubernetes, 32)))
		return error;
	if ((fd = listener(a->dns, 53, SOCK_DGRAM)) < 0)
		return fd;
	loop_add(&dns_udp, fd, EPOLLIN, on_udp, NULL);
	if ((fd = listener(a->dns, 53, SOCK_STREAM)) < 0)
		return fd;
	loop_add(&dns_tcp, fd, EPOLLIN, on_dns_connection, NULL);
	if ((fd = listener(a->kubernetes, 443, SOCK_STREAM)) < 0)
		return fd;
	loop_add(&api, fd, EPOLLIN, on_api_connection, NULL);
	return 0;
}

int listen_start(struct in_addr dns, struct in_addr kubernetes)
{
	struct addresses a = {dns, kubernetes};

	return in_service_namespace(start, &a);
}

struct forward {
	struct source connecting;
	uint32_t request, stream;
	struct forward *next;
};

static void on_connected(struct source *source, uint32_t events)
{
	struct forward *w = source->owner;
	int error = 0, fd;
	socklen_t size = sizeof error;
	struct stream *s;

	(void)events;
	getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	fd = fcntl(source->fd, F_DUPFD_CLOEXEC, 3);
	loop_close(source);
	if (error) {
		close(fd);
		reply_error(w->request, "ConnectFailed", "%s", strerror(error));
	} else if (!(s = stream_new(w->stream, STREAM_WINDOW))) {
		close(fd);
		reply_error(w->request, "TooManyStreams", "the machine has no stream left");
	} else {
		reply_ok(w->request);
		join(s, fd);
	}
	free(w);
}

void listen_forward(struct request *r)
{
	struct fields fields = {r->bytes, r->length};
	struct sockaddr_in to = {.sin_family = AF_INET};
	uint64_t port = 0, stream = 0;
	struct field f;
	int fd;

	while (field_next(&fields, &f) > 0) {
		if (f.tag == T_ADDRESS && field_string(&f))
			inet_pton(AF_INET, field_string(&f), &to.sin_addr);
		if (f.tag == T_PORT)
			field_number(&f, &port);
		if (f.tag == T_STREAM)
			field_number(&f, &stream);
	}
	to.sin_port = htons(port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)) {
		reply_error(r->id, "ConnectFailed", "%s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	struct forward *w = allocate(sizeof *w);
	w->request = r->id;
	w->stream = stream;
	loop_add(&w->connecting, fd, EPOLLOUT, on_connected, w);
}
