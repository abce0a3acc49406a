#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "proto.h"
#include "volume.h"

#define FILTER_SIZE 8	 /* struct sock_filter */
#define FILTERS_MAX 4096 /* BPF_MAXINSNS */

static bool append(char **list, unsigned *count, const struct field *f)
{
	const char *text = field_string(f);

	if (!text || *count >= ARGS_MAX)
		return false;
	list[(*count)++] = (char *)text;
	return true;
}

static bool take_mount(struct plan *p, const struct field *f)
{
	struct plan_mount *m = p->mount_count ? &p->mounts[p->mount_count - 1] : NULL;
	const char *text = f->tag == T_OPTIONS ? NULL : field_string(f);

	if (f->tag == T_SOURCE) {
		if (p->mount_count >= MOUNTS_MAX || !good_name(text))
			return false;
		p->mounts[p->mount_count++].source = text;
		return true;
	}
	if (!m)
		return false;
	if (f->tag == T_TARGET)
		return (m->target = text) && *text == '/';
	if (f->tag == T_SUB_PATH)
		return (m->sub_path = text) != NULL;
	return field_number(f, &m->options);
}

static bool take_file(struct plan *p, const struct field *f)
{
	if (f->tag == T_PATH) {
		const char *text = field_string(f);
		if (!text || *text != '/' || p->file_count >= FILES_MAX)
			return false;
		p->files[p->file_count++].path = text;
		return true;
	}
	if (!p->file_count)
		return false;
	p->files[p->file_count - 1].content = f->value;
	p->files[p->file_count - 1].length = f->length;
	return true;
}

/* T_OPTIONS before any mount is the plan's, later ones are the mount's they follow. */
static bool take(struct plan *p, const struct field *f)
{
	uint64_t number;

	switch (f->tag) {
	case T_NAME: return good_name(p->id = field_string(f));
	case T_IMAGE: return good_name(p->image = field_string(f));
	case T_CWD: return (p->cwd = field_string(f)) && *p->cwd == '/';
	case T_ARG: return append(p->argv, &p->argc, f);
	case T_ENV: return append(p->env, &p->envc, f);
	case T_UID: return field_number(f, &p->uid);
	case T_GID: return field_number(f, &p->gid);
	case T_GROUP:
		if (p->group_count >= GROUPS_MAX || !field_number(f, &number))
			return false;
		p->groups[p->group_count++] = number;
		return true;
	case T_CAPABILITIES: return field_number(f, &p->capabilities);
	case T_MEMORY: return field_number(f, &p->memory);
	case T_CPU: return field_number(f, &p->cpu_millis);
	case T_STREAM: return field_number(f, &p->stream);
	case T_MESSAGE_PATH: return (p->message_path = field_string(f)) && *p->message_path == '/';
	case T_PROCESSES_OF: return good_name(p->processes_of = field_string(f));
	case T_SECCOMP:
		p->seccomp = f->value;
		p->seccomp_length = f->length;
		return f->length > 0 && f->length % FILTER_SIZE == 0 && f->length / FILTER_SIZE <= FILTERS_MAX;
	case T_SOURCE:
	case T_TARGET:
	case T_SUB_PATH: return take_mount(p, f);
	case T_PATH:
	case T_CONTENT: return take_file(p, f);
	case T_OPTIONS: return p->mount_count ? take_mount(p, f) : field_number(f, &p->options);
	}
	return true;
}

bool plan_parse(struct plan *p, struct request *r)
{
	struct fields fields = {r->bytes, r->length};
	struct field f;
	bool good = true;
	int more = 0;

	memset(p, 0, sizeof *p);
	p->cwd = "/";
	p->argv = allocate((ARGS_MAX + 1) * sizeof *p->argv);
	p->env = allocate((ARGS_MAX + 1) * sizeof *p->env);
	p->mounts = allocate(MOUNTS_MAX * sizeof *p->mounts);
	p->files = allocate(FILES_MAX * sizeof *p->files);
	while (good && (more = field_next(&fields, &f)) > 0)
		good = take(p, &f);
	for (unsigned i = 0; i < p->mount_count; i++)
		good = good && p->mounts[i].target;
	if (!good || more < 0 || !p->id || !p->argc) {
		plan_free(p);
		return false;
	}
	p->message = r->bytes;
	r->bytes = NULL;
	return true;
}

void plan_free(struct plan *p)
{
	free(p->argv);
	free(p->env);
	free(p->mounts);
	free(p->files);
	free(p->message);
	memset(p, 0, sizeof *p);
}
