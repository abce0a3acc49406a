#include "exec.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "container.h"
#include "launch.h"
#include "proto.h"
#include "stream.h"

struct exec {
	struct launch launch;
	uint32_t request;
	struct stream *stream; /* NULL once the host gave it up */
	bool started, gone, stdin_wanted;
	int code;
};

static void finish(struct exec *e)
{
	if (e->stream)
		stream_end(e->stream, e->code);
	free(e);
}

static void on_exit(void *owner, pid_t pid, int status)
{
	struct exec *e = owner;

	(void)pid;
	e->gone = true;
	e->code = exit_code(status);
	if (e->started)
		finish(e);
}

/* Its terminal's hang-up or a kill: nobody reads what it would say. */
static void on_closed(struct stream *s)
{
	struct exec *e = s->owner;

	e->stream = NULL;
	if (!e->gone)
		kill(e->launch.pid, SIGKILL);
}

static void close_ends(struct launch *l)
{
	if (l->in >= 0)
		close(l->in);
	if (l->out >= 0)
		close(l->out);
	if (l->err >= 0)
		close(l->err);
}

static void on_launched(struct launch *l)
{
	struct exec *e = l->owner;

	if (l->failed || !e->stream) {
		reply_error(e->request, l->failed ? l->reason : "StreamClosed", "%s", l->message);
		close_ends(l);
		if (!e->gone)
			loop_forget_child(l->pid);
		if (e->stream) {
			e->stream->closed = NULL;
			stream_reset(e->stream);
		}
		free(e);
		return;
	}
	e->started = true;
	reply_ok(e->request);
	stream_read_from(e->stream, 1, l->out);
	if (l->err >= 0)
		stream_read_from(e->stream, 2, l->err);
	if (l->in >= 0 && e->stdin_wanted)
		stream_write_to(e->stream, l->in);
	else if (l->in >= 0)
		close(l->in);
	if (e->gone)
		finish(e);
}

void exec_start(struct request *r)
{
	const struct plan *container;
	struct plan wanted, plan;
	struct exec *e;
	pid_t pid;

	if (!plan_parse(&wanted, r)) {
		reply_error(r->id, "BadRequest", "the command is malformed");
		return;
	}
	container = container_running(wanted.id, &pid);
	e = allocate(sizeof *e);
	e->request = r->id;
	e->stdin_wanted = wanted.options & O_STDIN;
	if (!container) {
		reply_error(r->id, "ContainerGone", "the container %s doesn't run", wanted.id);
	} else if (!(e->stream = stream_new(wanted.stream, STREAM_WINDOW))) {
		reply_error(r->id, "TooManyStreams", "the machine has no stream left");
	} else {
		/* The container's user, rights and environment; the request's command and streams. */
		plan = *container;
		plan.argv = wanted.argv;
		plan.argc = wanted.argc;
		plan.options = (plan.options & ~(O_TTY | O_STDIN)) | (wanted.options & (O_TTY | O_STDIN));
		if (launch(&e->launch, &plan, pid, -1)) {
			e->launch.owner = e;
			e->launch.done = on_launched;
			e->stream->owner = e;
			e->stream->has_process = true;
			e->stream->closed = on_closed;
			e->stream->terminal = wanted.options & O_TTY;
			loop_child(e->launch.pid, on_exit, e);
			e = NULL;
		} else {
			reply_error(r->id, e->launch.reason, "%s", e->launch.message);
			stream_reset(e->stream);
		}
	}
	free(e);
	plan_free(&wanted);
}

void exec_signal(uint32_t stream, int number)
{
	struct stream *s = stream_find(stream);
	struct exec *e = s && s->closed == on_closed ? s->owner : NULL;

	if (e && !e->gone)
		kill(e->launch.pid, number);
}
