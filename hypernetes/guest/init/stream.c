#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link.h"
#include "proto.h"

static struct stream *streams;
static unsigned count;

struct stream *stream_find(uint32_t id)
{
	for (struct stream *s = streams; s; s = s->next)
		if (s->id == id)
			return s;
	return NULL;
}

struct stream *stream_new(uint32_t id, uint32_t credit)
{
	struct stream *s;

	if (count >= STREAMS_MAX || stream_find(id))
		return NULL;
	s = allocate(sizeof *s);
	s->id = id;
	s->credit = credit;
	s->in[0].fd = s->in[1].fd = s->out.fd = -1;
	s->ended[0] = s->ended[1] = true;
	s->next = streams;
	streams = s;
	count++;
	return s;
}

static void release(struct stream *s)
{
	for (struct stream **p = &streams; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	count--;
	loop_close(&s->in[0]);
	loop_close(&s->in[1]);
	loop_close(&s->out);
	free(s->pending);
	free(s);
}

static void send_credit(struct stream *s, uint32_t bytes)
{
	uint8_t b[4] = {bytes, bytes >> 8, bytes >> 16, bytes >> 24};

	link_send(M_CREDIT, 0, s->id, b, sizeof b);
}

/* A socket's stream is over when both directions are. */
static bool finished(struct stream *s)
{
	return !s->has_process && s->ended[0] && s->ended[1] && s->host_ended && s->out.fd < 0;
}

static void end_channel(struct stream *s, int channel)
{
	loop_close(&s->in[channel - 1]);
	s->ended[channel - 1] = true;
	link_send(M_EOF, channel, s->id, NULL, 0);
}

/* Reads once; returns false at the end of the descriptor or when nothing is there now. */
static bool pump(struct stream *s, int channel)
{
	static uint8_t frame[FRAME_MAX]; /* with its header, so that the port takes it in one buffer */
	uint8_t *buffer = frame + FRAME_HEADER;
	struct source *in = &s->in[channel - 1];
	size_t room = s->credit < sizeof frame - FRAME_HEADER ? s->credit : sizeof frame - FRAME_HEADER;
	ssize_t n;

	if (s->ending && (size_t)s->left[channel - 1] < room)
		room = s->left[channel - 1];
	if (!room) {
		loop_want(in, 0);
		return false;
	}
	n = read(in->fd, buffer, room);
	if (n > 0) {
		s->credit -= n;
		s->left[channel - 1] -= s->ending ? n : 0;
		link_send_in_place(M_DATA, channel, s->id, buffer, n);
		return true;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	end_channel(s, channel); /* end of file; EIO is a terminal's */
	return false;
}

static void on_readable(struct source *source, uint32_t events)
{
	struct stream *s = source->owner;

	(void)events;
	if (s->ending)
		return; /* drain goes on when the host takes more */
	pump(s, source == &s->in[0] ? 1 : 2);
	if (finished(s))
		release(s);
}

void stream_read_from(struct stream *s, int channel, int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	s->in[channel - 1].bulk = true;
	s->ended[channel - 1] = false;
	loop_add(&s->in[channel - 1], fd, s->credit ? EPOLLIN : 0, on_readable, s);
}

static void close_output(struct stream *s)
{
	if (s->out.fd < 0)
		return;
	if (s->socket)
		shutdown(s->out.fd, SHUT_WR);
	if (s->terminal && write(s->out.fd, "\4", 1) < 0)
		note("a terminal takes no end of input: %s", strerror(errno));
	loop_close(&s->out);
	if (s->input_ended)
		s->input_ended(s);
}

static void write_pending(struct stream *s)
{
	while (s->pending_length && s->out.fd >= 0) {
		ssize_t n = write(s->out.fd, s->pending, s->pending_length);
		if (n < 0) {
			if (errno == EAGAIN || errno == EINTR) {
				loop_want(&s->out, EPOLLOUT);
				return;
			}
			n = s->pending_length; /* nobody reads any more: swallow what still comes */
		}
		s->pending_length -= n;
		memmove(s->pending, s->pending + n, s->pending_length);
		send_credit(s, n);
	}
	loop_want(&s->out, 0);
	if (s->host_ended && !s->pending_length)
		close_output(s);
}

static void on_writable(struct source *source, uint32_t events)
{
	struct stream *s = source->owner;

	(void)events;
	write_pending(s);
	if (finished(s))
		release(s);
}

void stream_write_to(struct stream *s, int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	loop_add(&s->out, fd, 0, on_writable, s);
	write_pending(s);
}

bool stream_push(struct stream *s, int channel, const void *data, size_t length)
{
	if (s->credit < length) {
		stream_reset(s);
		return false;
	}
	s->credit -= length;
	link_send(M_DATA, channel, s->id, data, length);
	return true;
}

/* Sends what is left, as far as the host takes it; at its end the stream is freed. */
static void drain(struct stream *s)
{
	uint8_t b[4] = {s->code, s->code >> 8, s->code >> 16, s->code >> 24};

	for (int channel = 1; channel <= 2; channel++) {
		struct source *in = &s->in[channel - 1];
		while (in->fd >= 0 && pump(s, channel))
			;
		if (in->fd >= 0 && s->left[channel - 1] && !s->credit)
			return;
		if (in->fd >= 0)
			end_channel(s, channel);
	}
	link_send(M_ENDED, 0, s->id, b, sizeof b);
	release(s);
}

void stream_end(struct stream *s, int code)
{
	s->ending = true;
	s->code = code;
	s->closed = s->input_ended = NULL;
	/* Not what its children write from now on: they may never end. */
	for (int i = 0; i < 2; i++) {
		if (s->in[i].fd < 0)
			continue;
		if (ioctl(s->in[i].fd, FIONREAD, &s->left[i]))
			s->left[i] = 0;
		loop_want(&s->in[i], 0);
	}
	drain(s);
}

static void drop(struct stream *s)
{
	if (s->closed)
		s->closed(s);
	release(s);
}

void stream_reset(struct stream *s)
{
	link_send(M_RESET, 0, s->id, NULL, 0);
	drop(s);
}

void streams_reset_all(void)
{
	while (streams)
		drop(streams);
}

static void take_data(struct stream *s, const struct frame *f)
{
	if (s->pending_length + f->length > STREAM_WINDOW || s->host_ended) {
		stream_reset(s);
		return;
	}
	if (s->out.fd < 0) {
		send_credit(s, f->length);
		return;
	}
	s->pending = realloc(s->pending, s->pending_length + f->length + 1);
	if (!s->pending)
		abort();
	memcpy(s->pending + s->pending_length, f->payload, f->length);
	s->pending_length += f->length;
	write_pending(s);
}

void stream_frame(const struct frame *f)
{
	struct stream *s = stream_find(f->id);

	if (!s)
		return; /* it ended while the frame was on its way */
	switch (f->type) {
	case M_DATA:
		take_data(s, f);
		return;
	case M_EOF:
		s->host_ended = true;
		if (!s->pending_length)
			close_output(s);
		if (finished(s))
			release(s);
		return;
	case M_CREDIT:
		if (f->length == 4) {
			uint32_t more = f->payload[0] | f->payload[1] << 8 | f->payload[2] << 16 | (uint32_t)f->payload[3] << 24;
			s->credit = more > STREAM_WINDOW - (s->credit < STREAM_WINDOW ? s->credit : STREAM_WINDOW)
					    ? STREAM_WINDOW
					    : s->credit + more;
			if (s->ending) {
				drain(s);
				return;
			}
			loop_want(&s->in[0], EPOLLIN);
			loop_want(&s->in[1], EPOLLIN);
		}
		return;
	case M_RESET:
		drop(s);
		return;
	}
}
