/* Loads nftables files into the network namespace it runs in: `hn-tables FILE` once, `hn-tables` as long as its
 * standard input lasts, a socket of records (SOCK_SEQPACKET): a file's name comes, what is wrong with it goes back, or
 * nothing (one NUL). It stays where nft(8) would be started each time, which an emulated processor feels. */
#include <errno.h>
#include <limits.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define COMPLAINT_MAX 800

static int load(struct nft_ctx *context, const char *file)
{
	int failed;

	failed = nft_run_cmd_from_filename(context, file);
	if (failed)
		fprintf(stderr, "%s: %s", file, nft_ctx_get_error_buffer(context));
	return failed;
}

static void serve(struct nft_ctx *context)
{
	char file[PATH_MAX], complaint[COMPLAINT_MAX];
	ssize_t length;

	while ((length = recv(0, file, sizeof file - 1, 0)) > 0) {
		file[length] = 0;
		*complaint = 0;
		if (nft_run_cmd_from_filename(context, file))
			snprintf(complaint, sizeof complaint, "nft: %s", nft_ctx_get_error_buffer(context));
		if (send(0, complaint, strlen(complaint) + 1, MSG_NOSIGNAL) < 0)
			return;
	}
}

int main(int argc, char **argv)
{
	struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
	int failed = 0;

	if (!context || nft_ctx_buffer_error(context)) {
		fprintf(stderr, "no context of libnftables\n");
		return 1;
	}
	if (argc > 1)
		failed = load(context, argv[1]);
	else
		serve(context);
	nft_ctx_free(context);
	return failed != 0;
}
