// SPDX-License-Identifier: MIT
// C++: new, containers, exceptions, and threads that allocate at the same time.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static void work(unsigned k, unsigned long &out)
{
	for (unsigned round = 0; round < 10; round++) {
		auto p = std::make_unique<unsigned[]>(1 << 18);
		std::vector<unsigned> v(1 << 18);

		for (unsigned i = 0; i < v.size(); i++) {
			p[i] = i * 7919u + k;
			v[i] = p[i] ^ round;
		}
		std::sort(v.begin(), v.begin() + 5000);
		for (auto x : v)
			out += x;
		std::string s(1 << 20, static_cast<char>('a' + k));
		s += s;
		try {
			if (round % 2)
				throw std::runtime_error(s);
		} catch (const std::runtime_error &e) {
			out += std::string(e.what()).size();
		}
	}
}

int main()
{
	std::vector<std::thread> threads;
	std::vector<unsigned long> out(4);

	for (unsigned k = 0; k < 4; k++)
		threads.emplace_back(work, k, std::ref(out[k]));
	for (auto &t : threads)
		t.join();
	for (auto x : out)
		std::printf("%lu\n", x);
}
