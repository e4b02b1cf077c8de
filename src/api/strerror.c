// SPDX-License-Identifier: MIT
#include "api.h"

#include <string.h>

const char *nh_strerror(int err)
{
	switch (err < 0 ? -err : err) {
	case 0:
		return "success";
	case EINVAL:
		return "invalid argument: an unaligned address, a range that wraps, an unknown flag, "
		       "mode or node";
	case EFAULT:
		return "a part of the range is not mapped";
	case ENOMEM:
		return "out of memory, or a part of the range is not mapped";
	case EEXIST:
		return "a part of the range is managed already";
	case EOPNOTSUPP:
		return "nothing here can mark this memory: try another trap or delivery; `numahint "
		       "doctor` names the knob";
	case EPERM:
		return "not permitted: userfaultfd needs vm.unprivileged_userfaultfd=1, access to "
		       "/dev/userfaultfd or CAP_SYS_PTRACE; MPOL_MF_MOVE_ALL needs CAP_SYS_NICE";
	case EACCES:
		return "access denied, to /dev/userfaultfd perhaps";
	case EIO:
		return "some pages are not where the policy wants them, and could not be moved";
	case EBUSY:
		return "a page could not be restored or moved because somebody holds it; it stays "
		       "readable";
	case EAGAIN:
		return "try again";
	case ENOENT:
		return "no page there";
	case EMFILE:
		return "too many mms in this process";
	default:
		return "unexpected error";
	}
}

const char *nh_reason_name(unsigned int reason)
{
	static const char *const name[NH_REASONS] = {
		[NH_REASON_SHARED] = "shared",	     [NH_REASON_PINNED] = "pinned",
		[NH_REASON_BUSY] = "busy",	     [NH_REASON_NOMEM] = "nomem",
		[NH_REASON_UNMOVABLE] = "unmovable", [NH_REASON_FILE] = "file",
		[NH_REASON_STACK] = "stack",	     [NH_REASON_INACCESSIBLE] = "inaccessible",
		[NH_REASON_MAPS] = "maps",	     [NH_REASON_UNSUPPORTED] = "unsupported",
		[NH_REASON_OTHER] = "other",
	};

	return reason < NH_REASONS ? name[reason] : NULL;
}
